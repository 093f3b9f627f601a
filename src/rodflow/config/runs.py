"""From checked settings to runs: models by optimizers by seeds, each with everything that determines it."""

import json
import os
from collections.abc import Mapping, Sequence

from rodflow.config import rates
from rodflow.config.catalogue import DATASETS
from rodflow.config.declarations import BY_ONSET
from rodflow.config.experiment import Run, Settings, canonical
from rodflow.config.keys import Compute, Config, ModelSettings, OptimizerSettings
from rodflow.config.reference import file_digest, is_own, reference

Options = Mapping[tuple[str, str], OptimizerSettings]
"""How each optimizer trains each model, by the names of model and optimizer."""


def options(config: Config) -> Options:
    """An optimizer's settings with what they say for one model, for every model and optimizer.

    Where the learning rate is chosen by a rule, the length is the model's, and the flows start at a part of it.
    """
    found = {
        (model, name): entry.model_copy(update=entry.models.get(model, {}))
        for model in config.models
        for name, entry in config.optimizers.items()
    }
    for (model, name), own in found.items():
        length = config.models[model].steps
        if by_onset(own) and length is not None:
            times = {"steps": length, "start": rates.start(length)}
            found[model, name] = own.model_copy(update=times)
    return found


def by_onset(own: OptimizerSettings) -> bool:
    """Whether the learning rate is chosen by the rule of `rodflow.config.rates`."""
    return getattr(own, "learning_rate", None) == BY_ONSET


def main_runs(config: Config, chosen: Options) -> tuple[Run, ...]:
    """The runs of every seed, in the order of the config.

    Args:
        config: whose models, optimizers and seeds they are.
        chosen: the options of each model and optimizer, with a number for each learning rate that the rule chooses.
    """
    return tuple(
        run
        for (model, optimizer), options in chosen.items()
        if model in trains(config, optimizer)
        for run in runs(config, model, optimizer, options)
    )


def trains(config: Config, optimizer: str) -> Sequence[str]:
    """The models that an optimizer trains in the main runs.

    Args:
        config: which has both.
        optimizer: its name in the config.
    """
    only = config.optimizers[optimizer].only
    return [*config.models] if only is None else only


def samples(config: Config, model: ModelSettings) -> int | None:
    """How many samples a model is trained on; None: as many as the data set has, which is not known before.

    Args:
        config: which has the data set.
        model: the model's settings, whose own number goes first.
    """
    return config.dataset.samples if model.samples is None else model.samples


def runs(
    config: Config, model: str, optimizer: str, options: OptimizerSettings, group: str = ""
) -> tuple[Run, ...]:
    """One run a seed.

    A restart is moved to the nearest snapshot, after the first and before the end.

    Args:
        config: which has the seeds, the snapshots and all that the options do not say.
        model, optimizer: their names in the config.
        options: how the optimizer trains the model.
        group: folder of a sweep's runs with one set of values, "" for the main runs.

    Raises:
        OwnError, PathError: a file of one's own that the data are read from has gone, or cannot be read.
    """
    start, every, restart = options.start, config.snapshots.every, options.restart
    if restart is not None:  # to the nearest snapshot, after the first and before the end
        last = (options.steps - 1 - start) // every
        restart = start + min(max(1, round((restart - start) / every)), last) * every
    flows = tuple(config.flows if options.flows is None else options.flows)
    return tuple(
        Run(
            model,
            optimizer,
            seed,
            _settings(config, config.models[model], optimizer, options, seed),
            flows,
            restart,
            group,
        )
        for seed in config.seeds
    )


def dataset(config: Config) -> Settings:
    """The settings of the data stage, with what identifies files of one's own and where they are."""
    settings = config.dataset.model_dump(exclude={"python"})
    if not is_own(settings["name"]) and settings.get("test") is None:
        settings.pop("test", None)  # so that what a run is does not change where none is asked for
    files = own_files(config)
    if not files and not is_own(settings["name"]):
        return settings
    folder = config.written.folder
    identified: Settings = {"folder": os.path.relpath(folder)}
    if what := reference(settings["name"]):
        identified["code"] = {what.file: config.written.code[what.file]}
    if files:
        identified["files"] = {name: file_digest(folder, name) for name in files}
    return settings | {"own": identified}


def own_files(config: Config) -> list[str]:
    """The files, beside the config, that its data set is read from."""
    settings, name = config.dataset.model_dump(), config.dataset.name
    if is_own(name):
        return list(settings.get("files", ()))
    return [settings[name]] if isinstance(settings.get(name), str) else []


def criterion(config: Config) -> str:
    """The criterion, or the reference to that of one's own."""
    given = config.criterion
    return given if isinstance(given, str) else given.python


def _settings(
    config: Config, model: ModelSettings, optimizer: str, options: OptimizerSettings, seed: int
) -> Settings:
    data = dataset(config)
    excluded = () if is_own(data["name"]) else DATASETS[data["name"]].places
    identified = {k: v for k, v in data.get("own", {}).items() if k == "files"}
    data = {k: v for k, v in data.items() if k not in (*excluded, "own")} | identified
    # A sweep may put a number in place of a schedule, which its own check has seen and this serializer does not expect.
    names = {*config.declared(optimizer).hyperparameters}
    hyperparameters = options.model_dump(include=names, warnings=False)
    settings = {
        "batch_size": options.batch_size,
        "dataset": data | {"samples": samples(config, model)},
        "criterion": criterion(config),
        "model": model.model_dump(exclude={"samples", "steps", "python"}),
        "optimizer": _optimizer(optimizer, hyperparameters, options.steps),
        "seed": seed,
        "snapshots": config.snapshots.model_dump(),
        "start": options.start,
        "steps": options.steps,
    }
    if config.compute != Compute():  # results of two ways to compute agree up to rounding
        settings["compute"] = config.compute.model_dump()
    plain: Settings = json.loads(canonical(settings | _own(config, settings)))
    return plain


def _optimizer(name: str, hyperparameters: Settings, steps: int) -> Settings:
    """An optimizer with its hyperparameters; a learning rate in time ends with the run where nothing is said."""
    rate = hyperparameters.get("learning_rate")
    if isinstance(rate, dict) and rate.get("steps", 0) is None:
        hyperparameters["learning_rate"] = rate | {"steps": steps}
    return {"name": hyperparameters.pop("python", name), **hyperparameters}


def _own(config: Config, settings: Settings) -> Settings:
    """What identifies the code of one's own that a run uses, and where it is; nothing for a run without."""
    names = (
        settings["optimizer"]["name"],
        settings["model"]["kind"],
        settings["dataset"]["name"],
        settings["criterion"],
    )
    files = {what.file for name in names if (what := reference(name))}
    if not files:
        return {}
    code = {file: config.written.code[file] for file in files}
    identified: Settings = {"code": code, "folder": os.path.relpath(config.written.folder)}
    if not isinstance(config.criterion, str) and settings["criterion"] == config.criterion.python:
        identified["criterion"] = config.criterion.model_dump(exclude={"python"})
    return {"own": identified}
