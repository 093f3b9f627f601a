"""Sweeps: what they may change, which combinations of values they have, and the runs of those."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from pydantic import TypeAdapter, ValidationError

from rodflow.config.conflicts import MOST_RUNS, above, missing_flows, too_late, unknown
from rodflow.config.declarations import BY_ONSET
from rodflow.config.experiment import Run, Settings, Sweep
from rodflow.config.keys import Config, OptimizerSettings, SweepSettings
from rodflow.config.messages import Place, Problem, explain, show, suggest
from rodflow.config.rates import BASE, SEED, Rates
from rodflow.config.runs import Options, by_onset, runs, samples
from rodflow.config.schema import axes, axes_of, rules

Value = float | int | str | None
"""Of an axis; the text is a criterion."""

OF_THE_EXPERIMENT = ("criterion", "seed")
"""Axes that are no settings of an optimizer."""


def sweep(config: Config, options: Options, rates: Rates, name: str, main: Sequence[Run]) -> Sweep:
    """The main runs that a sweep starts from, and the runs of all its values that are not among them.

    Args:
        config: which has the sweep.
        options: how each optimizer trains each model, without those that have no learning rate.
        rates: those that the rule chooses, by model and optimizer.
        name: of the sweep.
        main: the main runs.
    """
    entry = config.sweeps[name]
    places = [place for place in _places(entry) if place in options]
    seeds: Sequence[object] = entry.over.get("seed", config.seeds)
    base = tuple(run for run in main if (run.model, run.optimizer) in places and run.seed in seeds)
    known = {run.digest for run in base}
    found: list[Run] = []
    for model, optimizer in places:
        for values in _combinations(config, entry, optimizer, rates.get((model, optimizer), ())):
            varied = {key: value for key, value in values.items() if key != "seed"}
            group = ",".join(f"{key}={_word(value)}" for key, value in varied.items()) or "seeds"
            own: dict[str, object] = {"seeds": [values["seed"]]} if "seed" in values else {}
            own |= {"criterion": values["criterion"]} if "criterion" in values else {}
            chosen = _with(options[model, optimizer], {**values, "flows": entry.flows})
            place = f"sweeps/{name}/{group}"
            found += runs(config.model_copy(update=own), model, optimizer, chosen, place)
    others = tuple(run for run in found if run.digest not in known)
    return Sweep(name, base, others, tuple(entry.figures))


def bad_sweeps(config: Config, options: Options) -> Iterator[Problem]:
    """Sweeps over what is not there, or over values that cannot be run.

    Args:
        config: whose every key is right by itself.
        options: how each optimizer trains each model.

    Yields:
        The place of each, and what is wrong there; of a sweep those of the first check that it does not pass.
    """
    for name, entry in config.sweeps.items():
        place: Place = ("sweeps", name)
        for bad in (_strange_names, _too_many_runs, _bad_axes, _bad_runs):
            problems = [*bad(config, entry, options)]
            yield from (((*place, *inner), text) for inner, text in problems)
            if problems:  # what follows needs what was looked at
                break


def _strange_names(config: Config, entry: SweepSettings, options: Options) -> Iterator[Problem]:
    for part, names, known in (
        ("model", entry.model, [*config.models]),
        ("optimizer", entry.optimizer, [*config.optimizers]),
    ):
        for index, word in enumerate(names):
            if word not in known:
                yield (part, index), f"is {show(word)}; {unknown(word, f'{part}s', known)}"


def _too_many_runs(config: Config, entry: SweepSettings, options: Options) -> Iterator[Problem]:
    values = [len(axis) for axis in entry.over.values()]
    combinations = {"each": sum(values), "paired": max(values), "product": math.prod(values)}
    count = len(_places(entry)) * combinations[entry.how]
    count *= 1 if "seed" in entry.over else len(config.seeds)
    if count > MOST_RUNS:
        yield ("over",), f"makes {count} runs; a sweep may have at most {MOST_RUNS}"


def _bad_axes(config: Config, entry: SweepSettings, options: Options) -> Iterator[Problem]:
    """Axes that an optimizer does not have, values that it does not take, and axes that are not paired."""
    for model, optimizer in _places(entry):
        images = samples(config, config.models[model])
        for key, values in entry.over.items():
            form = _axes(config, optimizer)
            known = [*rules(form)["properties"]]
            if key not in known:
                near = suggest(key, [name for name in known if name not in OF_THE_EXPERIMENT])
                text = f"is no axis; {optimizer} has {', '.join(known)}{near}"
                yield ("over", key), text
                continue
            for index, value in enumerate(values):
                place: Place = ("over", key, index)
                yield from ((place, text) for text in _bad_value(form, key, value))
                if value == BY_ONSET and (text := _not_by_onset(entry, options[model, optimizer])):
                    yield place, f"is {BY_ONSET}; {text}"
                if key == "seed" and value == SEED and by_onset(options[model, optimizer]):
                    yield place, f"is {SEED}, the seed of the runs by which rates are chosen"
                if key == "batch_size" and above(value, images):
                    yield place, f"is {value}; the model is trained on {images} images"
    longest = max(entry.over, key=lambda key: len(entry.over[key]))
    count = len(entry.over[longest])
    for key, values in entry.over.items() if entry.how == "paired" else ():
        if len(values) not in (1, count):
            text = f"paired with {longest} it must have {count}, or one that holds for all"
            yield ("over", key), f"has {len(values)} values; {text}"


def _not_by_onset(entry: SweepSettings, own: OptimizerSettings) -> str:
    """Why an axis cannot have the learning rates that the rule chooses, or ""."""
    if entry.how == "paired":
        return "paired values are numbers"
    return "" if by_onset(own) else f"the optimizer's own learning_rate must be {BY_ONSET} too"


def _axes(config: Config, optimizer: str) -> TypeAdapter[Settings]:
    """What a sweep over an optimizer may change."""
    own = config.written.optimizers
    return axes_of(own[optimizer]) if optimizer in own else axes(optimizer)


def _bad_value(form: TypeAdapter[Settings], key: str, value: object) -> Iterator[str]:
    tried = {key: value}
    try:
        form.validate_python(tried)
    except ValidationError as error:
        for found in error.errors():
            yield explain(found, rules(form), tried)[1]


def _bad_runs(config: Config, entry: SweepSettings, options: Options) -> Iterator[Problem]:
    every = config.snapshots.every
    for model, optimizer in _places(entry):
        for values in _combinations(config, entry, optimizer, [BASE]):
            chosen = _with(options[model, optimizer], values)
            if text := too_late(chosen.start, every, chosen.steps):
                axis = next((key for key in ("steps", "start") if key in values), "start")
                yield ("over", axis), text
            images = samples(config, config.models[model])
            declared = config.declared(optimizer)
            for text in missing_flows(optimizer, declared, entry.flows, chosen.batch_size, images):
                yield ("flows",), text


def _with(options: OptimizerSettings, values: Mapping[str, object]) -> OptimizerSettings:
    own = {key: value for key, value in values.items() if key not in OF_THE_EXPERIMENT}
    return options.model_copy(update=own)


def _places(entry: SweepSettings) -> list[tuple[str, str]]:
    """Model and optimizer of the runs of a sweep."""
    return [*itertools.product(entry.model, entry.optimizer)]


def _combinations(
    config: Config, entry: SweepSettings, optimizer: str, rates: Sequence[float]
) -> list[dict[str, Value]]:
    """The values of a sweep's axes: one at a time, side by side, or all combinations.

    Args:
        config: which it belongs to.
        entry: the sweep.
        optimizer: whose values they are.
        rates: the learning rates that the rule chooses.
    """
    form = _axes(config, optimizer)
    over: Mapping[str, Sequence[Value]] = {
        key: [
            form.validate_python({key: value})[key]
            for given in values
            for value in (rates if given == BY_ONSET else [given])
        ]
        for key, values in entry.over.items()
    }
    if entry.how == "each":
        return [{key: value} for key, values in over.items() for value in values]
    if entry.how == "paired":
        count = max(map(len, over.values()))
        rows = zip(*([*v] * count if len(v) == 1 else v for v in over.values()), strict=True)
        return [dict(zip(over, values, strict=True)) for values in rows]
    return [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())]


def _word(value: Value) -> str:
    """A value of an axis in the name of a folder."""
    if value is None:
        return "full"
    if isinstance(value, str):
        return value
    short = f"{value:.12g}"
    return short if float(short) == value else repr(value)
