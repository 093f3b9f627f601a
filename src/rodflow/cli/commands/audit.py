"""Audit stored results: integrity, numbers computed again, claims. Trains nothing, changes nothing.

Writes audit.json, and audit.md and audit.html beside it. The exit status is 1 if a file is missing, altered or out
of date or a number does not come out again, with a line for each on standard error. A claim that
is not reproduced is a finding and no error.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rodflow.cli.environment import stay_on_the_cpu
from rodflow.config.overrides import changed
from rodflow.config.settings import load, resolve

if TYPE_CHECKING:
    from rodflow.audit.report import Report

MANY_CORES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """The experiment and where its results are."""
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        help="of rodflow.study(..., folder=...), which has no config",
    )
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="the experiment")
    parser.add_argument(
        "--overrides", type=json.loads, default={}, metavar="JSON", help="its changed keys"
    )
    parser.add_argument("--root", type=Path, help="default: results/<name in the config>")
    parser.add_argument(
        "--without-code",
        action="store_true",
        help="run no code of the config's own, and check no eigenvectors of its runs",
    )
    parser.add_argument("--output", type=Path, help="default: audit.json in the root")


def run(args: argparse.Namespace, cores: int) -> int:
    """Audit, with as many processes as there are cores."""
    from rodflow.audit.audit import audit

    stay_on_the_cpu()
    if args.folder is not None:
        from rodflow.audit.study import audit_study

        return _told(audit_study(args.folder), args.folder, args.output)
    experiment = resolve(changed(load(args.config), args.overrides), args.config.parent)
    root = args.root or Path("results") / experiment.name
    report = audit(root, experiment, workers=cores, own_code=not args.without_code)
    return _told(report, root, args.output)


def _told(report: "Report", root: Path, output: Path | None) -> int:
    """Say and write what was found; the exit status."""
    from rodflow.audit.writing import summary, write

    output = output or root / "audit.json"
    print(summary(report))
    for problem in report.problems:
        print(f"{root}/{problem.path}: {problem.what}", file=sys.stderr)
    if report.consequences:
        words = f"{len(report.consequences)} more that follow from these"
        print(f"{words}: see {output.with_suffix('.md')}", file=sys.stderr)
    # Written last, so that what was found is said where nothing can be written.
    for path in write(report, output):
        print(f"note: {path} said something else than this audit: it is written again")
    print(f"details: {output.with_suffix('.md')}")
    return 1 if report.problems else 0
