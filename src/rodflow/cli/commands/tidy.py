"""List what a results folder holds that belongs to no run or figure of its config, and delete it if asked.

A figure, a flow or a run that is taken out of a config leaves its files, which the audit names. Only artifacts and
figures are looked at, and no link is followed. The manifest no longer lists what was deleted, and `make reproduce`
writes it and the audit again.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from rodflow.config.experiment import Experiment
from rodflow.config.plan import SUFFIXES, expected_files
from rodflow.config.settings import load, resolve
from rodflow.errors import printable

MANY_CORES = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """The experiment, and whether to delete."""
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="the experiment")
    parser.add_argument("--root", type=Path, help="default: results/<name in the config>")
    parser.add_argument("--delete", action="store_true", help="delete what is listed")


def run(args: argparse.Namespace) -> int:
    """List, and delete."""
    from rodflow.store.manifest import strike

    experiment = resolve(load(args.config), args.config.parent)
    root = args.root or Path("results") / experiment.name
    left = left_over(root, experiment)
    for place in left:
        print(printable(f"{root}/{place}"))
    if args.delete:
        for place in left:
            (root / place).unlink()
        strike(root, left)
        _remove_empty(root)
    done = "deleted" if args.delete else "to delete: call it again with --delete"
    print(f"{len(left)} files {done}" if left else f"{root}: nothing to tidy")
    return 0


def left_over(root: Path, experiment: Experiment) -> list[str]:
    """Artifacts and figures of a results folder that no run or figure of the experiment has, relative to it, sorted."""
    return sorted(set(_stored(root)) - expected_files(experiment))


def _stored(root: Path) -> Iterator[str]:
    """Artifacts and figures that are in the folder itself, relative to it."""
    for folder, _, files in os.walk(root):
        for name in files:
            place = Path(folder, name).relative_to(root)
            drawn = place.parts[0] == "figures" and place.suffix.removeprefix(".") in SUFFIXES
            if place.suffix == ".nc" or drawn:
                yield place.as_posix()


def _remove_empty(root: Path) -> None:
    """Remove folders without files, and those with the logs of such runs only."""
    for folder, _, _ in os.walk(root, topdown=False):
        path = Path(folder)
        if path != root and not any(path.iterdir()):
            path.rmdir()
