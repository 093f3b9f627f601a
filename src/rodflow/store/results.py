"""The results tree as runs: what figures and claims read from.

    runs = stored_runs("results/digits")
    runs[0].comparison["tracking_error"].sel(process="rod").dropna("snapshot")

A run reads its files when they are first asked for, and keeps them. The module imports no JAX. Notebooks rather use
the whole folder as one tree, see `rodflow.store.tree`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from rodflow.config.catalogue import OPTIMIZERS
from rodflow.config.values import Settings
from rodflow.store import artifact
from rodflow.store.files import listing

DISCRETE = "discrete"
COMPLETED = "completed"

_COMPARISON = re.compile(r"([^/]+/[^/]+/seed\d+)/comparison\.nc")


@dataclass(frozen=True)
class StoredRun:
    """One run below an experiment's folder: `[<group>/]<model>/<optimizer>/seed<k>`.

    Attributes:
        folder: where its artifacts are.
    """

    folder: Path
    _read: dict[str, xr.Dataset] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def path(self) -> str:
        """Its folder within the experiment's, as of a `rodflow.config.experiment.Run`."""
        parts = self.folder.parts
        return "/".join(parts[-6:] if parts[-6:-5] == ("sweeps",) else parts[-3:])

    @property
    def model(self) -> str:
        """The model's name in the config."""
        return self.folder.parts[-3]

    @property
    def optimizer(self) -> str:
        """The optimizer's name."""
        return self.folder.parts[-2]

    @property
    def seed(self) -> int:
        """Seed of the initial weights."""
        return int(self.folder.name.removeprefix("seed"))

    @property
    def processes(self) -> tuple[str, ...]:
        """The processes that were compared: the discrete run and its flows."""
        return tuple(map(str, self.comparison["process"].values))

    @property
    def settings(self) -> Settings:
        """What the discrete run was made with: see `rodflow.config.experiment.Run`."""
        return artifact.settings(self.series(DISCRETE))

    @property
    def comparison(self) -> xr.Dataset:
        """The numbers of the figures: see `rodflow.analysis.comparison.compare`."""
        return self._artifact("comparison", "comparison")

    def has(self, name: str) -> bool:
        """Whether the run has an artifact of this name, such as "iterates"."""
        return self._path(name).is_file()

    def trajectory(self, process: str) -> xr.Dataset:
        """What a process did, its weights included: see `rodflow.store.trajectory`."""
        return self._artifact(process, "trajectory")

    def sharpness(self, process: str) -> xr.Dataset:
        """The leading eigenvalues along a trajectory: see `rodflow.stages.sharpness.sharpness`."""
        return self._artifact(f"sharpness/{process}", "sharpness")

    def eigenvalues(self, process: str) -> xr.Dataset:
        """The same without the eigenvectors."""
        return self._short(f"sharpness/{process}", "sharpness")

    @property
    def iterates(self) -> xr.Dataset:
        """Single iterates and their prediction, without their weights: see `rodflow.stages.iterates`."""
        return self._short("iterates", "iterates")

    @property
    def onset_window(self) -> xr.Dataset:
        """Every iterate around the onset: see `rodflow.stages.onset_window`."""
        return self._artifact("onset_window", "onset_window")

    @property
    def outputs(self) -> xr.Dataset:
        """How far the flows are in function space: see `rodflow.stages.outputs`."""
        return self._artifact("outputs", "outputs")

    def series(self, process: str) -> xr.Dataset:
        """A trajectory without what is as long as the weights, which is not kept in memory."""
        return self._short(process, "trajectory")

    def take(self, name: str, data: xr.Dataset) -> None:
        """Enter an artifact that was read from the run's folder already.

        Args:
            name, data: its file without `.nc`, relative to the folder of the run, and what it holds.
        """
        self._read[name] = data

    def release(self) -> None:
        """Forget what is as long as the weights, and keep the rest of what was read."""
        for name, data in list(self._read.items()):
            if "parameter" in data.dims:
                del self._read[name]
                self._read[_SHORT.format(name)] = data.drop_dims("parameter")

    @property
    def threshold(self) -> float:
        """The largest stable learning rate x preconditioned sharpness, by linear theory.

        Where the preconditioner is the inverse of the critical gain, which holds the learning rate, it is 2.
        """
        sharpness = self.eigenvalues(DISCRETE)
        limit = np.asarray(sharpness.attrs["threshold"]).item()
        if sharpness.attrs.get("preconditioner") == "critical gain" or np.isnan(limit):
            return limit
        return limit * self.settings["optimizer"]["learning_rate"]

    @property
    def has_threshold(self) -> bool:
        """Whether its optimizer has a linear threshold, so that a sharpness can be over it."""
        return bool(np.isfinite(self.comparison.attrs.get("threshold", 0.0)))

    @property
    def alternates(self) -> bool:
        """Whether what becomes unstable first alternates, as a rod does; as far as is known."""
        angle = self.angle
        return bool(np.isnan(angle) or abs(angle - np.pi) < 1e-6)

    @property
    def angle(self) -> float:
        """By which its first unstable mode turns in a step, in radians; NaN where that is not measured."""
        angles = self.comparison.get("angle")
        return float("nan") if angles is None else float(angles.sel(process=DISCRETE))

    def status(self, process: str) -> str:
        """How a process ended: "completed", or where it diverged or why it did not start.

        What a completed one remarks on itself, such as how many steps it took singly, is in its trajectory only.
        """
        said = str(self.comparison["status"].sel(process=process).item())
        return COMPLETED if said.startswith(f"{COMPLETED}:") else said

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.nc"

    def _short(self, name: str, kind: str) -> xr.Dataset:
        short = _SHORT.format(name)
        if short not in self._read:
            if name in self._read:
                self._read[short] = self._read[name].drop_dims("parameter", errors="ignore")
            else:
                with artifact.open_lazily(self._path(name), kind=kind) as whole:
                    self._read[short] = whole.drop_dims("parameter", errors="ignore").load()
        return self._read[short]

    def _artifact(self, name: str, kind: str) -> xr.Dataset:
        if name not in self._read:
            self._read[name] = artifact.read(self._path(name), kind=kind)
        return self._read[name]


_SHORT = "{} without weights"


def ordered(runs: Iterable[StoredRun]) -> list[StoredRun]:
    """Runs by model, then in the order of the optimizer table (others last), then by seed."""
    return sorted(runs, key=lambda run: (run.model, *rank(run.optimizer), run.seed))


def rank(optimizer: str) -> tuple[int, str]:
    """Where an optimizer stands among others: in the order of the table, and after these by name."""
    known = [*OPTIMIZERS]
    return known.index(optimizer) if optimizer in known else len(known), optimizer


def stored_runs(root: str | Path) -> list[StoredRun]:
    """Every run below an experiment's folder whose comparison is stored, in order; links are not followed."""
    found = (_COMPARISON.fullmatch(place) for place in listing(root))
    return ordered(StoredRun(Path(root, match[1])) for match in found if match)


def drawn_from(
    paths: Sequence[Path], known: dict[Path, StoredRun] | None = None
) -> list[StoredRun] | xr.Dataset:
    """What the module of a figure draws: the runs in these folders, or the artifact of no run in this file.

    Args:
        paths: the folders, or the file.
        known: runs by folder, which are taken from here and entered.
    """
    if paths[0].suffix == ".nc":
        return artifact.read(paths[0], kind=paths[0].stem)
    known = {} if known is None else known
    return [known.setdefault(folder, StoredRun(folder)) for folder in paths]
