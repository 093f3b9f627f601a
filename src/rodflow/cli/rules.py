"""What the rules of the workflow ask of an experiment: its files, and the settings, code and resources of jobs.

A rule's functions take Snakemake's wildcards, with the path of a run as `run` and the name of a flow as `flow`.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from rodflow.cli import libraries
from rodflow.cli.environment import EnvironmentRefused
from rodflow.config import plan, uses
from rodflow.config.experiment import Experiment, Run
from rodflow.config.overrides import changed
from rodflow.config.settings import load, resolve
from rodflow.errors import RodflowError


def prepare() -> None:
    """Give the call the environment that its jobs will have, and say what of the user's does not hold.

    Snakemake itself loads matplotlib for its report. Jobs call `python`, which is this one also where no environment is
    activated.

    Raises:
        EnvironmentRefused: no job can run in it.
    """
    for note in libraries.prepare_all():
        print(note, file=sys.stderr)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


class Wildcards(Protocol):
    """Those of a job."""

    run: str
    flow: str


Resources = dict[str, int | Callable[[Wildcards, int], int]]
"""By name a number, or how it follows from a job's wildcards and from which attempt it is."""


class CallSettings(Protocol):
    """What Snakemake was called with."""

    configfiles: Sequence[Path]
    config: dict[str, object]


class Rules:
    """An experiment as the rules see it.

    Args:
        experiment: what the config resolves to.
        config: its file.
        overrides: what the command line changes in it.
    """

    def __init__(self, experiment: Experiment, config: Path, overrides: dict[str, object]) -> None:
        self.experiment, self.config, self.overrides = experiment, config, overrides
        self.root = f"results/{experiment.name}"
        self._runs = {run.path: run for run in experiment.all_runs}

    @classmethod
    def of_call(cls, called: CallSettings, clone: Path) -> "Rules":
        """The experiment of a call, which has the environment of its jobs from here on.

        A bad config, or an environment in which no job can run, ends it in one line before any job exists.

        Args:
            called: what the call says of the config.
            clone: the folder of the Snakefile, whose config.yaml is meant where the working folder has none.
        """
        try:
            prepare()
        except EnvironmentRefused as error:
            sys.exit(f"error: {error}")
        own = Path("config.yaml")
        files = list(called.configfiles) or [own if own.exists() else clone / own]
        if len(files) > 1:
            sys.exit("config: give one --configfile; an experiment is one file")
        try:
            experiment = resolve(changed(load(files[0]), called.config), Path(files[0]).parent)
            return cls(experiment, Path(files[0]), dict(called.config))
        except RodflowError as error:  # a config, or a declaration, that cannot be read
            sys.exit(f"config: {error}")

    def folder(self, wildcards: Wildcards) -> str:
        """The results folder; a function of no wildcard, as a parameter of a rule that has none of its own."""
        return self.root

    # Runs

    @cached_property
    def batches(self) -> tuple[tuple[Run, ...], ...]:
        """The runs of sweeps that share their jobs, and with them what a program costs to compile."""
        return plan.batches(self.experiment)

    @cached_property
    def alone(self) -> tuple[Run, ...]:
        """The runs with jobs of their own."""
        together = {run for batch in self.batches for run in batch}
        return tuple(run for run in self.experiment.all_runs if run not in together)

    @property
    def choices_of_flows(self) -> tuple[tuple[str, ...], ...]:
        """The processes that runs with jobs of their own have, each choice once."""
        return tuple(dict.fromkeys(run.processes for run in self.alone))

    @property
    def choices_of_replays(self) -> tuple[tuple[str, ...], ...]:
        """What is replayed of runs, each choice once."""
        choices = dict.fromkeys(plan.replays(run, self.experiment) for run in self.experiment.runs)
        return tuple(choice for choice in choices if choice)

    def pattern(self, runs: Iterable[Run] | None = None) -> str:
        """A pattern for the wildcard `run` that takes these runs only; without runs, those of the experiment."""
        chosen = self.experiment.all_runs if runs is None else runs
        return "|".join(re.escape(run.path) for run in chosen) or NOTHING

    def with_processes(self, processes: Sequence[str]) -> str:
        """The pattern of the runs with jobs of their own that have these processes."""
        return self.pattern([run for run in self.alone if run.processes == processes])

    def with_replays(self, kinds: Sequence[str]) -> str:
        """The pattern of the runs of which this is replayed."""
        runs = self.experiment.runs
        return self.pattern([run for run in runs if plan.replays(run, self.experiment) == kinds])

    @property
    def with_outputs(self) -> str:
        """The pattern of the runs that are measured in function space."""
        runs = self.experiment.all_runs
        return self.pattern([run for run in runs if plan.has_outputs(run, self.experiment)])

    @property
    def flow_pattern(self) -> str:
        """A pattern for the wildcard `flow`."""
        flows = dict.fromkeys(flow for run in self.experiment.all_runs for flow in run.flows)
        return "|".join(flows) or NOTHING

    # Files

    def files(self, *kinds: str) -> list[str]:
        """The files of these kinds of all runs."""
        return [path for run in self.experiment.all_runs for path in self._files(run, kinds)]

    def of_run(self, *kinds: str) -> Callable[[Wildcards], list[str]]:
        """A function that gives the files of these kinds of a run."""
        return lambda wildcards: self._files(self._runs[wildcards.run], kinds)

    def of_batch(self, batch: Sequence[Run], form: str) -> list[str]:
        """A file for each process of each run, `form` being its place in the run's folder; without a field, one."""
        found = (
            f"{self.root}/{run.path}/{form.format(process=process)}"
            for run in batch
            for process in run.processes
        )
        return [*dict.fromkeys(found)]

    def _files(self, run: Run, kinds: Sequence[str]) -> list[str]:
        planned = plan.run_files(run, self.experiment)
        return [
            f"{self.root}/{path}" for kind in kinds for path, (k, _) in planned.items() if k == kind
        ]

    @property
    def figures(self) -> tuple[plan.Figure, ...]:
        """The figures that are drawn."""
        return plan.figures(self.experiment)

    # What a job depends on

    def settings(self, wildcards: Wildcards) -> str:
        """The settings of a run as JSON: when one changes, what depends on it runs again."""
        return json.dumps(self._runs[wildcards.run].settings, sort_keys=True)

    def settings_of(self, *runs: Run) -> str:
        """The settings of some runs as a JSON list."""
        return json.dumps([run.settings for run in runs], sort_keys=True)

    def settings_alone(self, wildcards: Wildcards) -> str:
        """The settings of one run as a JSON list."""
        return self.settings_of(self._runs[wildcards.run])

    def restart(self, wildcards: Wildcards) -> str:
        """The snapshot at which a run's rod flow is started once more, as JSON."""
        return json.dumps(self._runs[wildcards.run].restart)

    def code(self, stage: str, replays: Sequence[str] = ()) -> Callable[[Wildcards], str]:
        """A function that gives the digest of the code that a stage of a run uses, for what it runs again."""
        return lambda wildcards: uses.code(
            stage,
            self._runs[wildcards.run].settings,
            flow=wildcards.flow if stage == "flow" else "",
            replays=replays,
        )

    def code_of(self, stage: str, *runs: Run, figure: str = "") -> str:
        """The digest of the code that a stage of these runs, of no run or of a figure uses."""
        return uses.code(stage, *(run.settings for run in runs), figure=figure)

    @property
    def dataset_code(self) -> str:
        """The digest of the code that prepares the data set."""
        return uses.code("dataset", self.experiment.dataset)

    @property
    def config_file(self) -> str:
        """The file of the experiment as seen from the working folder."""
        return os.path.relpath(self.config)

    # What a job needs

    def computing(self) -> Resources:
        """A job that computes, on as many devices as the config says."""
        devices = self.experiment.compute["devices"]
        return resources(2000, 240, gpu=devices if devices > 1 else None)

    def reading(self) -> Resources:
        """A job that only reads files."""
        return resources(1000, 30, gpu=0)

    def auditing(self) -> Resources:
        """The audit."""
        return resources(4000, 60, gpu=0)


NOTHING = "(?!)"
"""A pattern that takes nothing."""


def resources(mem_mb: int, runtime: int, gpu: int | None = None) -> Resources:
    """What a job of a cluster is given: memory, twice as much at each new attempt; minutes; and devices.

    Without a number of devices the profile's default holds. A file's `peak_memory_mib` says what was needed.
    """

    def memory(wildcards: Wildcards, attempt: int) -> int:
        return mem_mb * 2 ** (attempt - 1)

    needed: Resources = {"mem_mb": memory, "runtime": runtime}
    return needed if gpu is None else needed | {"gpu": gpu}
