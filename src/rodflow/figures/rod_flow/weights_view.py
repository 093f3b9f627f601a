"""A run around its onset in three directions of weight space: along the motion, across the valley, and aside."""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline

from rodflow.figures.core.preconditioner import preconditioner
from rodflow.store.results import DISCRETE, StoredRun

STABLE, RODS = "stable", ("rod", "rod_unit_step")
ALONG, ACROSS, ASIDE = "along", "across", "aside"
"""Names of flows, and of the three directions."""


@dataclass(frozen=True)
class Frame:
    """Three directions in weight space, orthogonal in the inner product a . P b of the optimizer.

    In it the leading eigenvector is orthogonal to the other ones of the preconditioned Hessian.

    Attributes:
        origin: the place of the zeros, [parameter].
        covectors: direction -> what reads a displacement's part along it, [parameter], scaled so
            that the part is a length in weight space.
    """

    origin: np.ndarray
    covectors: dict[str, np.ndarray]

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Where weights [..., parameter] are: direction -> coordinates [...]."""
        return {name: (weights - self.origin) @ row for name, row in self.covectors.items()}


@dataclass(frozen=True)
class Track:
    """What is drawn of a process.

    Attributes:
        process: its name.
        steps: of the points of its line, [point].
        places: direction -> coordinates of its iterates or its centre, [point].
        half: half the rod's reach across the valley at these points, [point].
        rod_steps: of the rods drawn as segments, [rod].
        ends: direction -> coordinates of their two ends Z + X and Z - X, [end, rod].
    """

    process: str
    steps: np.ndarray
    places: dict[str, np.ndarray]
    half: np.ndarray | None = None
    rod_steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ends: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """A run around its onset, in coordinates.

    Attributes:
        run: whose it is.
        middles: direction -> coordinates of the midpoints of the iterates, [step].
        steps: of the midpoints.
        iterates: the path of the iterates.
        flows: those of the flows that were there at the time.
        distances: process -> ||w_flow - wbar|| at the step `last`.
        last: the last step in view at which all flows are known.
    """

    run: StoredRun
    steps: np.ndarray
    middles: dict[str, np.ndarray]
    iterates: Track
    flows: tuple[Track, ...]
    distances: dict[str, float]
    last: int


def look(run: StoredRun) -> View | str:
    """The run in coordinates, or why there is nothing to see."""
    if not run.has("onset_window"):
        return "no iterates stored"
    onset_window = run.onset_window
    steps = onset_window["step"].values
    if len(steps) < 3:
        return f"iterates {onset_window.attrs['status']}"
    iterates = onset_window["iterate"].values.astype(np.float64)
    middles = (iterates[:-2] + 2 * iterates[1:-1] + iterates[2:]) / 4
    inner = steps[1:-1]
    flows = {name: near for name in drawn(run) if (near := _near(run, name, inner)) is not None}
    known = [
        near["snapshot"].sel(snapshot=slice(*inner[[0, -1]])).values for near in flows.values()
    ]
    last = min((int(found[-1]) for found in known), default=int(inner[-1]))
    gaps = {
        name: near["weights"].sel(snapshot=last).values.astype(np.float64)
        - middles[last - inner[0]]
        for name, near in flows.items()
        if last in near["snapshot"]
    }
    centre = int(np.clip(int(onset_window.attrs["centre"]), inner[0], inner[-1]))
    vectors = {
        ACROSS: onset_window["eigenvector"].values.astype(np.float64),
        ALONG: middles[-1] - middles[0],
    }
    if STABLE in gaps and gaps[STABLE].any():
        vectors[ASIDE] = gaps[STABLE]
    origin = middles[centre - inner[0]]
    frame = Frame(origin, _covectors(vectors, _preconditioner(run, centre)))
    return View(
        run=run,
        steps=inner,
        middles=frame(middles),
        iterates=Track(DISCRETE, steps, frame(iterates)),
        flows=tuple(_flow_path(name, near, frame, inner) for name, near in flows.items()),
        distances={name: float(np.linalg.norm(gap)) for name, gap in gaps.items()},
        last=last,
    )


def drawn(run: StoredRun) -> list[str]:
    """The flows in the figure: the stable flow, and the rod flow that comes first in `RODS`."""
    rods = [name for name in RODS if name in run.processes]
    return [name for name in (STABLE, *rods[:1]) if name in run.processes]


def _near(run: StoredRun, flow: str, steps: np.ndarray) -> xr.Dataset | None:
    """A flow around these steps, with some snapshots beyond; None if it has no two among them."""
    trajectory = run.trajectory(flow)
    beyond = 3 * run.settings["snapshots"]["every"]
    low, high = int(steps[0]), int(steps[-1])
    if trajectory["snapshot"].sel(snapshot=slice(low, high)).size < 2:
        return None
    wide = slice(low - beyond, high + beyond)
    return trajectory.sel(snapshot=wide, step=wide)


def _preconditioner(run: StoredRun, step: int) -> np.ndarray:
    """P at the snapshot of the discrete run nearest to a step, [parameter] or []."""
    near = run.trajectory(DISCRETE).sel(snapshot=[step], method="nearest")
    return preconditioner(near, run.settings["optimizer"]).values[0]


def _covectors(vectors: dict[str, np.ndarray], p: np.ndarray) -> dict[str, np.ndarray]:
    """What reads off the parts along vectors made orthogonal in order (Gram-Schmidt) in a . P b."""
    units: dict[str, np.ndarray] = {}
    for name, vector in vectors.items():
        rest = vector
        for unit in units.values():
            rest = rest - (rest @ (p * unit)) / (unit @ (p * unit)) * unit
        units[name] = rest / np.linalg.norm(rest)
    return {name: p * unit / (unit @ (p * unit)) for name, unit in units.items()}


def _flow_path(flow: str, near: xr.Dataset, frame: Frame, steps: np.ndarray) -> Track:
    """A flow at every step in view: its centre is smooth, a spline through the snapshots."""
    kept = near["snapshot"].values
    centre = near["weights"].values.astype(np.float64)
    low, high = max(steps[0], kept[0]), min(steps[-1], kept[-1])
    fine = np.arange(low, high + 1)
    places = {name: CubicSpline(kept, at)(fine) for name, at in frame(centre).items()}
    if "half_extent" not in near:
        return Track(flow, fine, places)
    extent = near["half_extent"].values.astype(np.float64)
    plus, minus = frame(centre + extent), frame(centre - extent)
    seen = (kept >= low) & (kept <= high)
    ends = {name: np.stack([plus[name], minus[name]])[:, seen] for name in plus}
    half = None
    if "rod_length" in near:
        # The length is known at every step; which part of it lies across the valley changes slowly.
        length = np.linalg.norm(extent, axis=1)
        part = np.abs(plus[ACROSS] - minus[ACROSS]) / 2 / np.where(length > 0, length, 1)
        half = np.interp(fine, kept, part) * near["rod_length"].reindex(step=fine).values
    return Track(flow, fine, places, half, kept[seen], ends)
