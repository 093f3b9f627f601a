"""One run under audit: its settings, its comparison computed again, and samples of its eigenvectors."""

import json
from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

import xarray as xr

from rodflow.analysis.comparison import compare
from rodflow.audit.recompute import (
    OutputSample,
    Recomputed,
    Sample,
    output_sample,
    recompute,
    sample,
)
from rodflow.config.experiment import Experiment, Run
from rodflow.config.plan import run_files
from rodflow.config.values import Settings
from rodflow.store import artifact
from rodflow.store.files import ArtifactError, Problem, place_fault
from rodflow.store.results import COMPLETED, StoredRun

AGAIN = "run `make reproduce`"
"""The remedy for what is not there or not of this config."""

PLACES = ("archive", "own.folder")
"""Settings that say where something was read from, which may be elsewhere now."""

Data = dict[str, dict[str, xr.Dataset]]
"""Kind and process -> artifact."""


@dataclass
class Found:
    """What a part of an audit finds, in a process of its own perhaps."""

    problems: list[Problem] = field(default_factory=list)
    recomputed: list[Recomputed] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    outputs: list[OutputSample] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)

    def add(self, one: Recomputed) -> None:
        """A number that was computed again, which may be a problem."""
        self.recomputed.append(one)
        if one.fault:
            self.problems.append(Problem(one.artifact, one.fault))

    def join(self, other: "Found") -> None:
        """Add what another part found."""
        self.problems += other.problems
        self.recomputed += other.recomputed
        self.samples += other.samples
        self.outputs += other.outputs
        self.statuses |= other.statuses

    def read(
        self, root: Path, path: str, kind: str, settings: Settings, faulty: Set[str]
    ) -> xr.Dataset | None:
        """A sound artifact; None if it is among the faulty ones or has a problem, which is named.

        Args:
            root, path: the results root, and the file relative to it.
            kind, settings: what it must be, and must have been made with.
            faulty: files that have a problem already, relative to the root.
        """
        if place_fault(root, path) or path in faulty:
            return None
        try:
            data = artifact.read(root / path, kind=kind)
            fault = _settings_fault(artifact.settings(data), settings)
        except ArtifactError as error:
            fault = error.what
        except MemoryError:
            fault = "needs more memory than there is"
        except RecursionError:
            fault = "has settings within settings without end"
        else:
            if (status := data.attrs["status"]) != COMPLETED:
                self.statuses[path] = status
        if fault:
            self.problems.append(Problem(path, fault))
            return None
        return data


def check_run(
    run: Run, root: Path, experiment: Experiment, faulty: Set[str]
) -> tuple[Found, StoredRun, bool]:
    """What is found in a run, what was read of it but for the weights, and whether its comparison was computed again.

    That needs the run to be complete.

    Args:
        run, root: the run, and the results root that its folder is in.
        experiment: its config, which says what files a run has.
        faulty: files that have a problem already, relative to the root.
    """
    found, stored = Found(), StoredRun(root / run.path)
    data = _read(run, root, experiment, faulty, found, stored)
    stored.release()
    trajectories, sharpness = data["trajectory"], data["sharpness"]
    for process in sorted(trajectories.keys() & sharpness.keys()):
        path = f"{run.path}/sharpness/{process}.nc"
        try:
            one = sample(path, run.settings, sharpness[process], trajectories[process])
        except Exception as error:  # whatever a forged file may cause
            found.problems.append(Problem(path, f"does not fit its trajectory: {_words(error)}"))
        else:
            found.samples.append(one)
    # Outputs are those of all trajectories: where one is missing or faulty, nothing can be said of them.
    if "outputs" in data and len(trajectories) == 1 + len(run.flows):
        path = f"{run.path}/outputs.nc"
        try:
            found.outputs.append(
                output_sample(path, run.settings, data["outputs"][""], trajectories)
            )
        except Exception as error:  # whatever a forged file may cause
            found.problems.append(Problem(path, f"does not fit its trajectories: {_words(error)}"))
    complete = sum(map(len, data.values())) == len(run_files(run, experiment))
    if complete:
        path = f"{run.path}/comparison.nc"
        try:
            fresh = compare(
                trajectories,
                sharpness,
                replicas=data["replicas"].get(""),
                iterates=data["iterates"].get(""),
                start=run.settings["start"],
                steps=run.settings["steps"],
            )
        except Exception as error:  # whatever a forged file may cause
            found.problems.append(Problem(path, f"cannot be recomputed: {_words(error)}"))
        else:
            found.add(recompute(data["comparison"][""], fresh, path))
    return found, stored, complete


def lost_run(run: Run, root: Path) -> tuple[Found, StoredRun, bool]:
    """What is found in a run whose files end the process that reads them.

    Args:
        run, root: the run, and the results root that its folder is in.
    """
    problem = Problem(run.path, "a file of it ends the process that reads it: run it again")
    return Found([problem]), StoredRun(root / run.path), False


def _read(
    run: Run,
    root: Path,
    experiment: Experiment,
    faulty: Set[str],
    found: Found,
    stored: StoredRun,
) -> Data:
    """The sound artifacts of a run."""
    own: dict[str, dict[str, object]] = {
        "sharpness": {"sharpness": experiment.sharpness},
        "replicas": {"replicas": experiment.replicas},
        "iterates": {"restart": run.restart},
    }
    data: Data = defaultdict(dict)
    for path, (kind, process) in run_files(run, experiment).items():
        dataset = found.read(root, path, kind, run.settings | own.get(kind, {}), faulty)
        if dataset is not None:
            data[kind][process] = dataset
            stored.take(path.removeprefix(f"{run.path}/").removesuffix(".nc"), dataset)
    return data


def _settings_fault(found: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    """The first setting of a file that is not the config's."""
    for key, made, now in artifact.different_settings(found, wanted):
        if key not in PLACES:
            words = f"was made with {key} {json.dumps(made)}, the config has {json.dumps(now)}"
            return f"{words}: {AGAIN}"
    return ""


def _words(error: Exception) -> str:
    """What an error says in a line, and of which kind it is where that is all there is."""
    return " ".join(str(error).split()) or type(error).__name__
