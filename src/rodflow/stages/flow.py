"""The flow stage: a flow from the discrete run's states around the start."""

import numpy as np
import xarray as xr

from rodflow.config.values import Settings
from rodflow.dynamics.integration import integrate
from rodflow.dynamics.process import Progress
from rodflow.stages.run import Prepared, not_started, prepare
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
    """The flow of one set of settings: see `follow`.

    Args:
        dataset: the training data, see `rodflow.stages.run.prepare`.
        discrete: the discrete run with these settings, with its states around the start.
        flow: the name of a module of `rodflow.dynamics.flows`.
        settings: of a `rodflow.config.experiment.Run`.
        progress: called after every chunk of steps.
        scratch: where a killed job continues from.

    Raises:
        OptimizerError: the flow does not exist for this optimizer.
    """
    return follow(prepare(dataset, settings), discrete, flow, progress, scratch)


def follow(
    run: Prepared,
    discrete: xr.Dataset,
    flow: str,
    progress: Progress | None = None,
    scratch: Scratch | None = None,
) -> xr.Dataset:
    """Integrate a flow from the discrete run's states around the start, as a trajectory.

    A discrete run that diverged before the start gives a trajectory without steps whose status says so.

    Args:
        run: ready to go.
        discrete: its discrete run.
        flow: the name of a module of `rodflow.dynamics.flows`.
        progress: called after every chunk of steps.
        scratch: where a killed job continues from.

    Raises:
        OptimizerError: the flow does not exist for this optimizer.
    """
    around = run.states_at_start(discrete)
    if around is None:
        none = np.zeros(0)
        kept = {"weights": np.zeros((0, run.weights.size), np.float32)}
        return trajectory(
            none,
            {"loss": none},
            none,
            kept,
            process=flow,
            title=run.title(flow),
            attributes={"status": not_started(discrete)},
        )
    recording = integrate(
        flow,
        run.optimizer,
        around,
        start=run.settings["start"],
        stop=run.settings["steps"],
        every=run.every,
        seed=run.settings["seed"],
        batch_size=run.settings["batch_size"],
        progress=progress,
        keep=run.keep,
        checkpoint=Checkpoint(scratch, flow),
    )
    return run.label(recording, flow)
