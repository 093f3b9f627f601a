"""Run every experiment whose data is at hand, the quickest first, to one index of audits and figures.

The experiments are config.yaml and those of config/. One on images that have to be fetched takes part if a local
archive is named (dataset.archive or RODFLOW_CIFAR10). Each is a call of Snakemake, which goes on with what is missing:
after a kill the same command continues. A failed experiment stops no other; the exit status is 1 if one failed.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from rodflow.cli import parents
from rodflow.cli.commands import index
from rodflow.config.catalogue import DATASETS, MODELS
from rodflow.config.experiment import Experiment
from rodflow.config.paths import placed
from rodflow.config.plan import expected_files
from rodflow.config.reference import is_own
from rodflow.config.settings import ConfigError, load, resolve
from rodflow.config.values import Settings
from rodflow.errors import RodflowError
from rodflow.stages.progress import words

MANY_CORES = False
PAUSE = 60.0
"""Seconds between two lines on how far it is."""


class EverythingError(RodflowError, RuntimeError):
    """Nothing that can be run."""


SECONDS_OF_A_FILE = 2.0
"""What a job takes besides its steps: it starts, compiles its programs and writes its file."""
SECONDS_OF_A_NUMBER = 6e-9
"""For each number in a sample, what an MLP takes for its share of a gradient (docs/benchmarks.md)."""
OF_ONES_OWN = 64, 10.0
"""How many numbers a sample is taken to have, and how much longer than an MLP a network takes, of code of one's own."""


def _seconds_of_a_gradient(settings: Settings) -> float:
    """Roughly, of a run's loss on all samples of a step: one thread, networks of the default size."""
    dataset, kind = settings["dataset"], settings["model"]["kind"]
    numbers, cost = OF_ONES_OWN
    if not is_own(dataset["name"]):
        numbers = DATASETS[dataset["name"]].numbers(dataset)
    if not is_own(kind):
        cost = MODELS[kind].cost
    # Data of one's own may not say how many they are.
    samples = settings["batch_size"] or dataset.get("samples") or 100
    return SECONDS_OF_A_NUMBER * numbers * samples * cost


@dataclass(frozen=True)
class Planned:
    """An experiment and its file."""

    config: Path
    experiment: Experiment

    @cached_property
    def expected(self) -> set[str]:
        """Its files."""
        return expected_files(self.experiment)

    @cached_property
    def cost(self) -> float:
        """About how many seconds of a core it takes, for the order and the time that is left."""
        work = sum(
            run.settings["steps"] * (1 + 4 * len(run.flows)) * _seconds_of_a_gradient(run.settings)
            for run in self.experiment.all_runs
        )
        return SECONDS_OF_A_FILE * len(self.expected) + work

    @property
    def files(self) -> tuple[int, int]:
        """How many of its files are there, and how many there will be."""
        return len(self._times), len(self.expected)

    def shares(self, since: float) -> tuple[float, float]:
        """Which part of its files was made after a time, and which part is missing."""
        times, files = self._times, len(self.expected)
        return sum(one > since for one in times) / files, 1 - len(times) / files

    @property
    def _times(self) -> list[float]:
        """When the files that are there were made."""
        root, found = Path("results", self.experiment.name), []
        for path in self.expected:
            with suppress(OSError):
                found.append((root / path).stat().st_mtime)
        return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which experiments, and how Snakemake is called."""
    parser.add_argument(
        "--configs",
        type=Path,
        nargs="+",
        default=[Path("config.yaml"), Path("config")],
        metavar="PATH",
        help="files, or folders of them; default: config.yaml config",
    )
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME", help="leave these out")
    parser.add_argument("--profile", default="workflow/profiles/default", help="Snakemake's")
    parser.add_argument("--cores", default="all", help="default: all")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run, and end")


def run(args: argparse.Namespace) -> int:
    """Run them one after the other."""
    if find_spec("snakemake") is None:
        raise EverythingError("snakemake is not installed: pip install 'rodflow[workflow]'")
    planned, absent = experiments(args.configs, args.without)
    for line in absent:
        print(line)
    for one in planned:
        there, files = one.files
        print(f"{one.experiment.name}: {there} of {files} files are there ({one.config})")
    if args.dry_run:
        return 0
    if not planned:
        raise EverythingError("no experiment can be run: see --configs and --without")
    watch, failed = Watch(planned), []
    for place, one in enumerate(planned):
        print(watch.line(place), flush=True)
        command = [sys.executable, "-m", "snakemake", "--profile", args.profile]
        command += ["--cores", args.cores, "--configfile", str(one.config)]
        with watch.saying(place):
            status = subprocess.run(command, env=parents.as_caller()).returncode
        if status:
            failed.append(one.experiment.name)
    for path in index.write([one.experiment for one in planned], Path("results")):
        print(f"index: {path}")
    if failed:
        print(f"failed: {', '.join(failed)}; the lines above say why", file=sys.stderr)
    return 1 if failed else 0


def experiments(places: list[Path], without: list[str]) -> tuple[list[Planned], list[str]]:
    """The experiments with data at hand, by cost, and a line for each of the others.

    Raises:
        ConfigError: a config that cannot be run.
    """
    planned, absent = [], []
    for path in index.configs(places):
        try:
            experiment = resolve(load(path), path.parent)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        if experiment.name in without or path.stem in without:
            absent.append(f"{experiment.name}: left out")
        elif not at_hand(experiment):
            named = "name an archive in dataset.archive or RODFLOW_CIFAR10"
            absent.append(f"{experiment.name}: left out, its images are not at hand; {named}")
        else:
            planned.append(Planned(path, experiment))
    return sorted(planned, key=lambda one: one.cost), absent


def at_hand(experiment: Experiment) -> bool:
    """Whether the images need no download."""
    dataset = experiment.dataset
    if is_own(dataset["name"]) or "archive" not in DATASETS[dataset["name"]].places:
        return True
    key = "dataset.archive" if dataset.get("archive") else "RODFLOW_CIFAR10"
    given = dataset.get("archive") or os.environ.get("RODFLOW_CIFAR10")
    return placed(given, key=key).is_file() if given else False


class Watch:
    """How far all experiments are, and about how long the rest takes."""

    def __init__(self, planned: list[Planned]) -> None:
        self.planned = planned
        self.began, self.since = time.monotonic(), time.time()

    def line(self, place: int) -> str:
        """Which one it is at, how far that is, and the time that went and that is left."""
        one, spent = self.planned[place], time.monotonic() - self.began
        there, files = one.files
        text = f"[{place + 1}/{len(self.planned)}] {one.experiment.name}: {there} of {files} files, {words(spent)}"
        made, left = self._work(place)
        if made <= 0 or spent < 1:
            return text
        return f"{text}, about {words(spent * left / made)} left"

    def saying(self, place: int) -> "_Saying":
        """A context in which the line is printed now and then."""
        return _Saying(self, place)

    def _work(self, place: int) -> tuple[float, float]:
        """The cost of what this call has made, and of what is missing of this experiment and later ones.

        A file that is there but has to be made again is known as such only when it is.
        """
        made = left = 0.0
        for number, one in enumerate(self.planned):
            new, missing = one.shares(self.since)
            made += new * one.cost
            left += missing * one.cost if number >= place else 0
        return made, left


class _Saying:
    def __init__(self, watch: Watch, place: int) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._say, args=(watch, place), daemon=True)

    def _say(self, watch: Watch, place: int) -> None:
        while not self._ended.wait(PAUSE):
            print(watch.line(place), flush=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
