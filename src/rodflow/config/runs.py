"""From checked settings to runs: models by optimizers by seeds, each with everything that determines it."""

import json
from collections.abc import Mapping, Sequence

from rodflow.config.catalogue import DATASETS, OPTIMIZERS
from rodflow.config.experiment import Run, Settings, canonical
from rodflow.config.keys import Compute, Config, ModelSettings, OptimizerSettings

Options = Mapping[tuple[str, str], OptimizerSettings]
"""How each optimizer trains each model, by the names of model and optimizer."""


def options(config: Config) -> Options:
    """An optimizer's settings with what they say for one model, for every model and optimizer."""
    return {
        (model, name): entry.model_copy(update=entry.models.get(model, {}))
        for model in config.models
        for name, entry in config.optimizers.items()
    }


def main_runs(config: Config, chosen: Options) -> tuple[Run, ...]:
    """The runs of every seed, in the order of the config."""
    return tuple(
        run
        for (model, optimizer), own in chosen.items()
        if model in trains(config, optimizer)
        for run in runs(config, model, optimizer, own)
    )


def trains(config: Config, optimizer: str) -> Sequence[str]:
    """The models that an optimizer trains in the main runs."""
    only = config.optimizers[optimizer].only
    return [*config.models] if only is None else only


def samples(config: Config, model: ModelSettings) -> int:
    """How many images a model is trained on."""
    return config.dataset.samples if model.samples is None else model.samples


def runs(
    config: Config, model: str, optimizer: str, own: OptimizerSettings, group: str = ""
) -> tuple[Run, ...]:
    """One run a seed."""
    start, every, restart = own.start, config.snapshots.every, own.restart
    if restart is not None:  # to the nearest snapshot, after the first and before the end
        last = (own.steps - 1 - start) // every
        restart = start + min(max(1, round((restart - start) / every)), last) * every
    flows = tuple(config.flows if own.flows is None else own.flows)
    return tuple(
        Run(
            model,
            optimizer,
            seed,
            _settings(config, config.models[model], optimizer, own, seed),
            flows,
            restart,
            group,
        )
        for seed in config.seeds
    )


def _settings(
    config: Config, model: ModelSettings, optimizer: str, own: OptimizerSettings, seed: int
) -> Settings:
    dataset = config.dataset.model_dump(exclude={*DATASETS[config.dataset.name].places})
    hyperparameters = own.model_dump(include={*OPTIMIZERS[optimizer].hyperparameters})
    settings = {
        "batch_size": own.batch_size,
        "dataset": dataset | {"samples": samples(config, model)},
        "criterion": config.criterion,
        "model": model.model_dump(exclude={"samples"}),
        "optimizer": {"name": optimizer, **hyperparameters},
        "seed": seed,
        "snapshots": config.snapshots.model_dump(),
        "start": own.start,
        "steps": own.steps,
    }
    if config.compute != Compute():  # results of two ways to compute agree up to rounding
        settings["compute"] = config.compute.model_dump()
    plain: Settings = json.loads(canonical(settings))
    return plain
