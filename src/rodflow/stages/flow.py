"""The flow stage: a flow from the discrete run's states around the start."""

import numpy as np
import xarray as xr

from rodflow.dynamics.integration import integrate
from rodflow.dynamics.process import Progress
from rodflow.stages.run import Settings, build, kept_by, label, not_started, states_at_start, title
from rodflow.store.checkpoint import Checkpoint, Scratch
from rodflow.store.trajectory import trajectory


def flow_run(
    dataset: xr.Dataset,
    discrete: xr.Dataset,
    flow: str,
    settings: Settings,
    progress: Progress | None = None,
    scratch: Scratch | None = None,
) -> xr.Dataset:
    """Integrate a flow from the discrete run's states around the start, as a trajectory.

    A discrete run that diverged before the start gives a trajectory without steps whose status says so.
    """
    optimizer, weights = build(dataset, settings)
    around = states_at_start(optimizer, weights, discrete)
    if around is None:
        none = np.zeros(0)
        kept = {"weights": np.zeros((0, weights.size), np.float32)}
        return trajectory(
            none,
            {"loss": none},
            none,
            kept,
            process=flow,
            title=title(flow, settings),
            attributes={"status": not_started(discrete)},
        )
    recording = integrate(
        flow,
        optimizer,
        around,
        start=settings["start"],
        stop=settings["steps"],
        every=settings["snapshots"]["every"],
        seed=settings["seed"],
        progress=progress,
        keep=kept_by(optimizer, settings),
        checkpoint=Checkpoint(scratch, flow),
    )
    return label(optimizer, recording, flow, settings)
