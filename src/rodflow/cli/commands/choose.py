"""Choose the learning rates that a config leaves to the rule, and write their table beside it.

Trains discrete runs of seed 0 on a grid of learning rates, finds the step at which each reaches its threshold, and adds
a row to NAME.rates.csv. Rates that the table has already are not tried again: after a kill the same command continues.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rodflow.cli import folders
from rodflow.config import rates
from rodflow.config.reading import load
from rodflow.config.runs import dataset
from rodflow.config.scans import Scan
from rodflow.config.settings import scanned

if TYPE_CHECKING:
    import xarray as xr

MANY_CORES = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """The config, and which part of it."""
    parser.add_argument("config", type=Path, help="the YAML file of an experiment")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--optimizers", nargs="+", metavar="NAME", help="default: all")


def run(args: argparse.Namespace) -> int:
    """Search one model and optimizer after the other, and say what is chosen."""
    config, scans = scanned(load(args.config), args.config.parent)
    table = rates.table_of(args.config)
    folders.keep_programs()
    from rodflow.problem.labelled import load as load_data

    data: xr.Dataset | None = None
    wanted = [scan for scan in scans if _wanted(scan, args)]
    rows = _without_stale(config.rates, scans)
    for scan in wanted:
        found = scan.known(config)
        while (rate := scan.next_rate(found)) is not None:
            data = load_data(dataset(config)) if data is None else data
            found.append(_row(data, scan, rate))
            rows.append(found[-1])
            _write(table, rows, scans)
        chosen = ", ".join(map(str, rates.choose(found))) or "none reaches its threshold in time"
        print(f"{scan.model}/{scan.optimizer}: {chosen}", flush=True)
    if scans:
        _write(table, rows, scans)
        print(table)
    return 0


def _wanted(scan: Scan, args: argparse.Namespace) -> bool:
    named = ((scan.model, args.models), (scan.optimizer, args.optimizers))
    return all(some is None or name in some for name, some in named)


def _row(data: "xr.Dataset", scan: Scan, rate: float) -> rates.Rate:
    from rodflow.stages.onset import onset
    from rodflow.stages.progress import Clock

    title = f"{scan.model}/{scan.optimizer} learning_rate={rate:g}"
    settings = scan.at(rate)
    clock = Clock(title, settings["steps"])
    found = onset(data, settings, clock)
    row = rates.Rate(
        model=scan.model,
        optimizer=scan.optimizer,
        learning_rate=rate,
        length=scan.length,
        onset=None if found.step is None else round(found.step, 1),
        highest=None if found.highest is None else float(f"{found.highest:.4g}"),
        status=found.status,
        rule=scan.rule,
    )
    words = "no onset" if row.part is None else f"onset at {row.part:.1%} of {row.length} steps"
    print(f"{title}: {words}, {row.status}, {clock.elapsed:.0f} s", file=sys.stderr, flush=True)
    return row


def _without_stale(rows: Sequence[rates.Rate], scans: Sequence[Scan]) -> list[rates.Rate]:
    """The rows but those that were made for other settings of a model and optimizer of the config."""
    rule = {(scan.model, scan.optimizer): scan.rule for scan in scans}
    return [row for row in rows if rule.get((row.model, row.optimizer), row.rule) == row.rule]


def _write(table: Path, rows: Sequence[rates.Rate], scans: Sequence[Scan]) -> None:
    """The table, models and optimizers in the order of the config."""
    from rodflow.store.files import write_bytes

    order = {(scan.model, scan.optimizer): place for place, scan in enumerate(scans)}
    ordered = sorted(rows, key=lambda row: order.get((row.model, row.optimizer), len(order)))
    write_bytes(table, rates.written(ordered).encode())
