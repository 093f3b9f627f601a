"""Which code each stage of a run uses: its own module, and those that the run's settings name.

    code("flow", run.settings, flow="rod")

A stage's module imports what it calls, so that the digest finds that (`rodflow.config.code`). What it loads by name is
no import: the optimizer, the model, the data set, the flow, the figure. Here it is said which of them a stage loads.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

from rodflow.config import plan
from rodflow.config.catalogue import DATASETS, FIGURES, FLOWS, MODELS, OPTIMIZERS, Kind
from rodflow.config.code import digest
from rodflow.config.experiment import Experiment
from rodflow.config.reference import is_own
from rodflow.config.values import Settings

_COMMANDS = "rodflow.cli.stages"

_TRAINED = ("train", "flow", "sharpness", "replay")
"""The stages of a run, which load its optimizer and its model."""

_FIXED: Mapping[str, Sequence[tuple[Kind, str]]] = {
    "toy": ((OPTIMIZERS, "gd"), (OPTIMIZERS, "heavy_ball")),
    "adam_region": ((OPTIMIZERS, "adam"), (MODELS, "mlp")),
}
"""The stages of no run, with what they load."""


def code(
    stage: str,
    *settings: Settings,
    flow: str = "",
    figure: str = "",
    replays: Sequence[str] = (),
) -> str:
    """The digest of the code that decides what a stage gives.

    Args:
        stage: "dataset", "train", "flow", "sharpness", "replay", "outputs", "comparison", "toy", "adam_region",
            "figure", "manifest", or "audit".
        settings: of the runs that it works on; of the data set for "dataset".
        flow: the flow that it integrates.
        figure: the figure that it draws.
        replays: what it runs again.

    Raises:
        CatalogueError: something that is named does not exist.
    """
    return digest(*modules(stage, *settings, flow=flow, figure=figure, replays=replays))


def modules(
    stage: str,
    *settings: Settings,
    flow: str = "",
    figure: str = "",
    replays: Sequence[str] = (),
) -> tuple[str, ...]:
    """The modules that a stage begins with; what they import belongs to them.

    Args:
        stage, settings, flow, figure, replays: as for `code`.

    Raises:
        CatalogueError: something that is named does not exist.
    """
    folder = "rodflow.cli.commands" if stage == "audit" else _COMMANDS
    own = [f"{folder}.{stage}"]
    if stage == "dataset":
        own += [DATASETS.module(one["name"]) for one in settings if not is_own(one["name"])]
    if stage in _TRAINED:
        own += [module for one in settings for module in _named(one)]
    if stage == "outputs":  # which takes no step
        kinds = [one["model"]["kind"] for one in settings]
        own += [MODELS.module(kind) for kind in kinds if not is_own(kind)]
    own += [f"rodflow.stages.{kind}" for kind in replays]
    own += [kind.module(name) for kind, name in _FIXED.get(stage, ())]
    own += [FLOWS.module(flow)] if flow else []
    own += [FIGURES.module(figure)] if figure else []
    return tuple(dict.fromkeys(own))


def _named(settings: Settings) -> Iterator[str]:
    """The modules that a run names; code of one's own has its digest in the settings."""
    for kind, name in (
        (OPTIMIZERS, settings["optimizer"]["name"]),
        (MODELS, settings["model"]["kind"]),
    ):
        if not is_own(name):
            yield kind.module(name)


def of_experiment(experiment: Experiment) -> dict[str, str]:
    """Stage -> digest of all code that it uses in an experiment, and "config" -> digest of the settings of its runs.

    Two results of the same experiment are from the same code where these agree.
    """
    runs = experiment.all_runs
    settings = [run.settings for run in runs]
    figures = plan.figures(experiment)
    replays = {kind for run in runs for kind in plan.replays(run, experiment)}
    flows = [FLOWS.module(flow) for run in runs for flow in run.flows]
    own = {
        stage: modules(stage, *settings) for stage in ("train", "flow", "sharpness", "comparison")
    }
    own["dataset"] = modules("dataset", experiment.dataset)
    own["flow"] += tuple(flows)
    if replays:
        own["replay"] = modules("replay", *settings, replays=sorted(replays))
    if with_outputs := [run.settings for run in runs if plan.has_outputs(run, experiment)]:
        own["outputs"] = modules("outputs", *with_outputs)
    for source in sorted({path.removesuffix(".nc") for one in figures for path in one.sources}):
        if source in _FIXED:
            own[source] = modules(source)
    own["figure"] = modules("figure") + tuple(FIGURES.module(one.name) for one in figures)
    own["audit"] = modules("audit")
    found = {stage: digest(*names) for stage, names in own.items()}
    text = json.dumps([settings, experiment.sharpness, experiment.replicas], sort_keys=True)
    return found | {"config": hashlib.sha256(text.encode()).hexdigest()}
