"""From a config file to a validated, fully resolved experiment, without importing JAX.

What a config may say (keys, limits, defaults, the optimizers and their hyperparameters) is written
once, in ``workflow/schemas/config.schema.json``. This module applies it: it checks a config, adds
the relations between keys that a JSON schema cannot express, fills in the defaults, and multiplies
models, optimizers and seeds into runs.

    experiment = resolve(load("config.yaml"))
    experiment.run("mlp/adam/seed0").settings["optimizer"]["b2"]

``python -m rodflow.config.settings config.yaml`` prints what a config resolves to.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError

from rodflow.config.catalogue import FLOWS, OPTIMIZERS
from rodflow.errors import RodflowError

SCHEMA = Path(__file__).resolve().parents[3] / "workflow" / "schemas" / "config.schema.json"

Place = tuple[str | int, ...]
"""Where a value stands in a config: the keys and list positions that lead to it."""

Problem = tuple[Place, str]
"""A place and what is wrong there."""

_DEEPEST = 20  # levels of nesting; a config has six
_LARGEST = 2**63  # what other readers of the JSON settings can hold
_MOST_VALUES = 20_000  # in a config, aliases written out; the largest of ours has 250
_MOST_RUNS = 10_000
_PER_CLASS = 5000  # training images of each CIFAR-10 class


class ConfigError(RodflowError, ValueError):
    """A config that cannot be run: one line with the key, its value and what is allowed."""


@dataclass(frozen=True)
class Run:
    """One model trained by one optimizer from one seed.

    Attributes:
        model: the model's name in the config.
        optimizer: the optimizer's name.
        seed: seed of the initial weights.
        flows: the continuous-time models that are compared with it.
        restart: the snapshot at which the rod flow is started once more, to predict iterates; None: where
            the rod of the iterates has opened.
        group: folder of a sweep's runs with one set of values, "" for the main runs.
        settings: everything that determines the trajectory, as plain JSON values with sorted keys:
            ``batch_size`` (null: all images), ``criterion``, ``dataset``, ``model`` (``kind`` and its
            settings), ``optimizer`` (``name`` and its hyperparameters), ``seed``, ``snapshots``, ``start``
            and ``steps``; and ``compute`` (``devices`` and ``samples_at_once``) where it is not the default.
            Where the images are read from (``dataset.archive``) is not among them.
    """

    model: str
    optimizer: str
    seed: int
    settings: dict[str, Any] = field(hash=False)
    flows: tuple[str, ...]
    restart: int | None
    group: str = ""

    @property
    def path(self) -> str:
        """Folder of the run within the experiment's: ``[<group>/]<model>/<optimizer>/seed<k>``."""
        own = f"{self.model}/{self.optimizer}/seed{self.seed}"
        return f"{self.group}/{own}" if self.group else own

    @property
    def processes(self) -> tuple[str, ...]:
        """The discrete run and its flows."""
        return ("discrete", *self.flows)

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the settings as canonical JSON."""
        return hashlib.sha256(_canonical(self.settings).encode()).hexdigest()


@dataclass(frozen=True)
class Sweep:
    """Runs that differ from main runs in some values.

    Attributes:
        name: its name in the config.
        base: the main runs of its models and optimizers, which it starts from.
        runs: the others, of the values in the order of the config.
        figures: names of the figures that show them.
    """

    name: str
    base: tuple[Run, ...]
    runs: tuple[Run, ...]
    figures: tuple[str, ...]


@dataclass(frozen=True)
class Experiment:
    """A resolved config: every value given, every run listed.

    Attributes:
        name: results go to ``results/<name>/``.
        dataset: settings of the data stage.
        criterion: ``mse`` or ``cross_entropy``.
        runs: models x optimizers x seeds, in the order of the config.
        sweeps: further runs with other values.
        replicas: how many replicas each main run has.
        compute: how a job uses the machine.
        sharpness: settings of the sharpness stage.
        figures: names of the figures of the main runs.
    """

    name: str
    dataset: dict[str, Any] = field(hash=False)
    criterion: str
    runs: tuple[Run, ...]
    sweeps: tuple[Sweep, ...]
    replicas: int
    compute: dict[str, Any] = field(hash=False)
    sharpness: dict[str, Any] = field(hash=False)
    figures: tuple[str, ...]

    @property
    def all_runs(self) -> tuple[Run, ...]:
        """The main runs, then those of the sweeps."""
        return (*self.runs, *(run for sweep in self.sweeps for run in sweep.runs))

    def run(self, path: str) -> Run:
        """The run with this path.

        Raises:
            LookupError: the experiment has no such run.
        """
        for run in self.all_runs:
            if run.path == path:
                return run
        raise LookupError(f"{self.name} has no run {path}")


def shared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's settings have in common with those that one compiled program serves as well.

    All but the seed and those hyperparameters that are no whole numbers: `k` of k-Adam shapes the program.
    """
    fixed = {k: v for k, v in settings["optimizer"].items() if not isinstance(v, float)}
    return {**settings, "optimizer": fixed, "seed": None}


def load(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file, not yet checked.

    Raises:
        ConfigError: the file cannot be read, is not YAML, repeats a key or holds no mapping.
    """
    try:
        config = _parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: {_one_line(error.problem or error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # no YAML characters, or no UTF-8
        raise ConfigError(f"{path}: {_one_line(error)}") from error
    if config is None:
        raise ConfigError(f"{path}: is empty; it must be a mapping of keys to settings")
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: must be a mapping of keys to settings")
    return config


def resolve(config: Mapping[str, Any], schema: Path = SCHEMA) -> Experiment:
    """The experiment that a config describes, checked and with every default filled in.

    Relations between keys (``start`` within ``steps``, ``heads`` dividing ``width``) are looked at
    once every key is right by itself.

    Raises:
        ConfigError: names the first problem in the order of the config and counts the others.
    """
    rules = _rules(schema)
    problems: list[Problem] = []
    plain = _plain(config, (), problems, itertools.count())
    for error in rules.validator.iter_errors(plain):
        problems.extend(_explain(error))
    _refuse(problems, plain)

    full = rules.complete(plain, rules.root)
    models = {
        name: rules.complete(model, {"$ref": "#/$defs/model"})
        for name, model in full["models"].items()
    }
    full["sweeps"] = {
        name: rules.complete(sweep, {"$ref": "#/$defs/sweep"})
        for name, sweep in full["sweeps"].items()
    }
    options = {
        (model, name): rules.options(name, entry, model)
        for model in models
        for name, entry in full["optimizers"].items()
    }
    _refuse([*_conflicts(full, models, options), *_bad_sweeps(full, models, options, rules)], plain)

    runs = tuple(
        itertools.chain(
            *(
                _runs(full, models[model], model, optimizer, chosen)
                for (model, optimizer), chosen in options.items()
                if model in _trains(full, optimizer)
            )
        )
    )
    return Experiment(
        name=full["name"],
        dataset=full["dataset"],
        criterion=full["criterion"],
        runs=runs,
        sweeps=tuple(_sweep(full, models, options, name, runs) for name in full["sweeps"]),
        replicas=full["replicas"],
        compute=full["compute"],
        sharpness=full["sharpness"],
        figures=tuple(full["figures"]),
    )


def describe(experiment: Experiment) -> str:
    """The experiment as a table for people: what all runs share, then a line for each run."""
    shared = {
        "experiment": experiment.name,
        "dataset": _listed(experiment.dataset),
        "criterion": experiment.criterion,
        "replicas": str(experiment.replicas),
        "compute": _listed(experiment.compute),
        "sharpness": _listed(experiment.sharpness),
        "figures": ", ".join(experiment.figures),
    }
    heads = ("run", "start", "steps", "every", "restart", "flows", "hyperparameters")
    table: list[tuple[str, ...]] = [heads]
    for run in experiment.all_runs:
        settings = run.settings
        shared[f"model {run.model}"] = _listed(settings["model"])
        hyperparameters = {k: v for k, v in settings["optimizer"].items() if k != "name"}
        if settings["batch_size"] is not None:
            hyperparameters["batch_size"] = settings["batch_size"]
        if settings["criterion"] != experiment.criterion:
            hyperparameters["criterion"] = settings["criterion"]
        numbers = (
            settings["start"],
            settings["steps"],
            settings["snapshots"]["every"],
            run.restart or "oscillation onset",
        )
        flows = " ".join(run.flows)
        table.append((run.path, *map(str, numbers), flows, _listed(hyperparameters)))
    return "\n".join([*_aligned(list(shared.items())), "", *_aligned(table)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what a config resolves to, or in one line why it does not (exit status 1)."""
    parser = argparse.ArgumentParser(
        prog="python -m rodflow.config.settings", description=main.__doc__
    )
    parser.add_argument("config", type=Path, help="the YAML file of an experiment")
    parser.add_argument("--quiet", action="store_true", help="print nothing if it is right")
    options = parser.parse_args(arguments)
    path = options.config
    try:
        config = load(path)
        try:
            described = describe(resolve(config))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    if not options.quiet:
        print(described)
    return 0


class _Rules:
    """The JSON schema of a config, and the defaults it holds."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.validator = Draft202012Validator(root)

    def complete(self, value: Any, schema: Mapping[str, Any]) -> Any:
        """A copy of a valid `value` with defaults filled in and numbers of the schema's type.

        Only keys that the schema names are entered: what stands under a name of the user's
        choice (a model) is copied as it is.
        """
        schema = self._flat(schema, value)
        if isinstance(value, dict):
            known = {key: self._flat(rule) for key, rule in schema.get("properties", {}).items()}
            defaults = {key: rule["default"] for key, rule in known.items() if "default" in rule}
            missing = {key: rule for key, rule in defaults.items() if key not in value}
            return {k: self.complete(v, known.get(k, {})) for k, v in (value | missing).items()}
        if isinstance(value, list):
            return [self.complete(item, schema.get("items", {})) for item in value]
        if schema.get("type") == "integer":
            return int(value)
        if schema.get("type") == "number":
            return float(value)
        return value

    def options(self, optimizer: str, entry: dict[str, Any], model: str) -> dict[str, Any]:
        """An optimizer's entry with what it says for one model, and no word on the others."""
        schema = self.root["properties"]["optimizers"]["properties"][optimizer]
        options = self.complete(entry | entry["models"].get(model, {}), schema)
        del options["models"]
        return options

    def _flat(self, schema: Mapping[str, Any], value: Any = None) -> dict[str, Any]:
        """`schema` with its references, and the branch that holds for `value`, merged in."""
        flat = dict(schema)
        while "$ref" in flat:
            name = flat.pop("$ref").removeprefix("#/$defs/")
            flat = self.root["$defs"][name] | flat
        if isinstance(value, dict):
            for branch in flat.get("allOf", ()):
                if self.validator.evolve(schema=branch["if"]).is_valid(value):
                    return self._flat(branch["then"])
        return flat


@cache
def _rules(path: Path) -> _Rules:
    return _Rules(json.loads(path.read_text(encoding="utf-8")))


_NOT_HYPERPARAMETERS = ("start", "steps", "restart", "batch_size", "flows", "models", "only")
_USUAL = {"devices": 1, "samples_at_once": None}
"""How a job uses the machine unless told otherwise; results of the two ways agree up to rounding."""
_AXES = ("start", "steps", "batch_size")
"""Of an optimizer's options those that a sweep may change besides the hyperparameters."""


def _trains(full: Mapping[str, Any], optimizer: str) -> Sequence[str]:
    """The models that an optimizer trains in the main runs."""
    only = full["optimizers"][optimizer]["only"]
    return [*full["models"]] if only is None else only


def _runs(
    full: Mapping[str, Any],
    network: Mapping[str, Any],
    model: str,
    optimizer: str,
    options: Mapping[str, Any],
    group: str = "",
) -> tuple[Run, ...]:
    """One run a seed."""
    start, every, restart = options["start"], full["snapshots"]["every"], options["restart"]
    if restart is not None:  # to the nearest snapshot, after the first and before the end
        last = (options["steps"] - 1 - start) // every
        restart = start + min(max(1, round((restart - start) / every)), last) * every
    flows = full["flows"] if options["flows"] is None else options["flows"]
    return tuple(
        Run(
            model,
            optimizer,
            seed,
            _run_settings(full, network, optimizer, options, seed),
            tuple(flows),
            restart,
            group,
        )
        for seed in full["seeds"]
    )


def _sweep(
    full: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    options: Mapping[tuple[str, str], Mapping[str, Any]],
    name: str,
    main: Sequence[Run],
) -> Sweep:
    """The main runs that a sweep starts from, and the runs of all its values that are not among them."""
    entry = full["sweeps"][name]
    places = _places(entry)
    seeds = [int(seed) for seed in entry["over"].get("seed", full["seeds"])]
    base = tuple(run for run in main if (run.model, run.optimizer) in places and run.seed in seeds)
    known = {run.digest for run in base}
    runs: list[Run] = []
    for (model, optimizer), values in itertools.product(places, _combinations(entry)):
        chosen = {**options[model, optimizer], **values, "flows": entry["flows"]}
        varied = {key: value for key, value in values.items() if key != "seed"}
        group = ",".join(f"{key}={_word(value)}" for key, value in varied.items()) or "seeds"
        own = {key: chosen.pop(key) for key in ("criterion",) if key in chosen}
        own["seeds"] = [chosen.pop("seed")] if "seed" in chosen else full["seeds"]
        place = f"sweeps/{name}/{group}"
        found = _runs({**full, **own}, models[model], model, optimizer, chosen, place)
        runs += [run for run in found if run.digest not in known]
    return Sweep(name, base, tuple(runs), tuple(entry["figures"]))


def _places(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Model and optimizer of the runs of a sweep."""
    return [*itertools.product(_names(entry["model"]), _names(entry["optimizer"]))]


def _names(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else [*names]


def _word(value: Any) -> str:
    """A value of an axis in the name of a folder."""
    if value is None:
        return "full"
    if isinstance(value, str):
        return value
    short = f"{value:.12g}"
    return short if float(short) == value else repr(value)


def _combinations(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values of a sweep's axes: one at a time, side by side, or all combinations."""
    over = {
        key: [_number(value, whole=key in (*_AXES, "seed", "k")) for value in values]
        for key, values in entry["over"].items()
    }
    if entry["how"] == "each":
        return [{key: value} for key, values in over.items() for value in values]
    if entry["how"] == "paired":
        count = max(map(len, over.values()))
        rows = zip(*(v * count if len(v) == 1 else v for v in over.values()), strict=True)
        return [dict(zip(over, values, strict=True)) for values in rows]
    return [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())]


def _run_count(entry: Mapping[str, Any], seeds: Sequence[int]) -> int:
    """How many runs a sweep has at most."""
    values = [len(axis) for axis in entry["over"].values()]
    all_of = {"each": sum(values), "paired": max(values), "product": math.prod(values)}
    combinations = all_of[entry["how"]]
    return len(_places(entry)) * combinations * (1 if "seed" in entry["over"] else len(seeds))


def _number(value: Any, *, whole: bool) -> Any:
    """A number as a run's settings have it; what is none stays as it is."""
    if value is None or isinstance(value, str):
        return value
    return int(value) if whole else float(value)


def _run_settings(
    full: Mapping[str, Any],
    model: Mapping[str, Any],
    optimizer: str,
    options: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    times = {key: options[key] for key in ("start", "steps")}
    hyperparameters = {k: v for k, v in options.items() if k not in _NOT_HYPERPARAMETERS}
    dataset = {key: value for key, value in full["dataset"].items() if key != "archive"}
    settings = {
        "batch_size": options["batch_size"],
        "dataset": dataset | {"samples": _samples(full, model)},
        "criterion": full["criterion"],
        "model": {key: value for key, value in model.items() if key != "samples"},
        "optimizer": {"name": optimizer, **hyperparameters},
        "seed": seed,
        "snapshots": full["snapshots"],
        **times,
    }
    if full["compute"] != _USUAL:
        settings["compute"] = full["compute"]
    return json.loads(_canonical(settings))


def _samples(full: Mapping[str, Any], model: Mapping[str, Any]) -> int:
    """How many images a model is trained on."""
    own = model["samples"]
    return full["dataset"]["samples"] if own is None else int(own)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


# What can be wrong


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which names the line of a value that is not what its tag or form says."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as error:  # ValueError of 2020-99-99, KeyError of !!bool x, and others
            value = _show(node.value if isinstance(node, yaml.ScalarNode) else node.id)
            kind = _key(node.tag.rpartition(":")[2])
            text = f"{value} cannot be read as {kind}; write text in quotes"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark) from error


def _parse(text: str) -> Any:
    """The value of a YAML document in which no mapping repeats a key and no alias multiplies the size."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_repeated_keys(root, set())
        if _size(root, {}) > _MOST_VALUES:
            text = f"is too large; a config has at most {_MOST_VALUES} values, aliases written out"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=root.start_mark)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node stands for; infinitely many if it holds itself."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = math.inf
        parts = itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def _refuse_repeated_keys(node: yaml.Node, seen: set[int]) -> None:
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in keys:
                text = f"{_key(name)} is given twice"
                raise yaml.MarkedYAMLError(problem=text, problem_mark=key.start_mark)
            keys.add(name)
            _refuse_repeated_keys(value, seen)
    else:
        for item in node.value:
            _refuse_repeated_keys(item, seen)


def _plain(value: Any, place: Place, problems: list[Problem], count: Iterator[int]) -> Any:
    """`value` as JSON has it (dict, list, scalars); what JSON cannot hold joins `problems`."""
    if len(place) > _DEEPEST:
        problems.append((place, "is nested too deeply"))
        return None
    if next(count) > _MOST_VALUES:
        owner = _key(place[0]) if place else "the config"
        raise ConfigError(f"{owner} is too large; a config has at most {_MOST_VALUES} values")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                problems.append(((*place, str(key)), "is not a text key; write it in quotes"))
        return {str(k): _plain(v, (*place, str(k)), problems, count) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, (*place, i), problems, count) for i, item in enumerate(value)]
    if isinstance(value, (int, float)) and not -_LARGEST < value < _LARGEST:
        shown = value if isinstance(value, float) else "beyond 64 bits"
        problems.append((place, f"is {shown}; a number must be finite and below 2^63"))
        return None
    return value


def _explain(error: ValidationError) -> Iterator[Problem]:
    """A finding of the schema in words: what the value is, and what is allowed."""
    place: Place = tuple(error.absolute_path)
    value, limit, schema = error.instance, error.validator_value, error.schema
    if error.validator == "additionalProperties":
        known = list(schema["properties"])
        for key in value:
            if key not in known:
                owner = _key(place[-1]) if place else "the config"
                takes = f"{owner} has no {_key(key)}; it takes {', '.join(known)}"
                text = f"is {_show(value[key])}, but {takes}{_suggest(key, known)}"
                yield (*place, key), text
    elif error.validator == "required":
        for key in limit:
            if key not in value:
                yield (*place, key), "is missing; it has no default"
    elif "propertyNames" in error.absolute_schema_path:
        yield (*place, value), f"is not a usable name; {_allowed(error)}"
    else:
        yield place, f"is {_show(value)}; {_allowed(error)}"


_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "greater than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def _allowed(error: ValidationError) -> str:
    value, limit, schema = error.instance, error.validator_value, error.schema
    match error.validator:
        case "type":
            types = [limit] if isinstance(limit, str) else limit
            allowed = f"it must be {' or '.join(_TYPES[name] for name in types)}"
            return allowed + (_number_as_text(value) if {"integer", "number"} & {*types} else "")
        case "enum":
            return f"it must be one of {', '.join(map(str, limit))}{_suggest(value, limit)}"
        case "const":
            return f"it must be {_show(limit)}"
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            bounds = [f"{words} {schema[key]}" for key, words in _BOUNDS.items() if key in schema]
            return f"it must be {' and '.join(bounds)}"
        case "minItems" | "minProperties" | "minLength":
            return (
                "it must not be empty" if limit == 1 else f"it must have at least {limit} entries"
            )
        case "maxItems":
            return f"it must have at most {limit} entries"
        case "uniqueItems":
            return "no entry may be repeated"
        case "pattern" | "maxLength" if "description" in schema:
            return f"it must be {schema['description']}"
        case "not":
            return "it is not allowed here"
    return _one_line(error.message)


def _number_as_text(value: Any) -> str:
    """How to write a number that YAML took for text, such as 5e-3."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    ways = [repr(number)] if "e" not in repr(number) else []
    mantissa, e, exponent = value.strip().lower().partition("e")
    if e:
        ways.insert(0, f"{float(mantissa)!r}e{int(exponent):+d}")
    return f" (this is text; write {' or '.join(ways)})" if ways else ""


def _conflicts(
    full: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    options: Mapping[tuple[str, str], Mapping[str, Any]],
) -> Iterator[Problem]:
    """Values that are each allowed but do not go together."""
    dataset, every = full["dataset"], full["snapshots"]["every"]

    available = _PER_CLASS * len(dataset.get("classes") or ())
    if 0 < available < dataset["samples"]:
        text = f"is {dataset['samples']}; the chosen classes have {available} images"
        yield ("dataset", "samples"), text

    yield from _bad_compute(full, models, options)

    for model, network in models.items():
        if network["kind"] == "cnn" and 2 ** len(network["channels"]) > dataset["size"]:
            text = f"has {len(network['channels'])} entries; each halves the image, whose side is {dataset['size']}"
            yield ("models", model, "channels"), text
        if network["kind"] == "vit" and network["width"] % network["heads"]:
            text = f"is {network['heads']}; it must divide width, {network['width']}"
            yield ("models", model, "heads"), text
        if network["kind"] == "vit" and dataset["size"] % network["patch"]:
            text = f"is {network['patch']}; it must divide dataset.size, {dataset['size']}"
            yield ("models", model, "patch"), text
        if _above(network["samples"], dataset["samples"]):
            text = f"is {network['samples']}; dataset.samples is {dataset['samples']}"
            yield ("models", model, "samples"), text

    for optimizer, entry in full["optimizers"].items():
        for model in entry["models"].keys() - models.keys():
            known = f"the models are {_all_of(models)}{_suggest(model, models)}"
            yield ("optimizers", optimizer, "models", model), f"is no model; {known}"

    for optimizer, entry in full["optimizers"].items():
        for index, model in enumerate(entry["only"] or ()):
            if model not in models:
                known = f"the models are {_all_of(models)}{_suggest(model, models)}"
                yield ("optimizers", optimizer, "only", index), f"is {_show(model)}; {known}"

    trained = [name for name in full["optimizers"] for model in _trains(full, name)]
    if not trained and not full["sweeps"]:
        name = next(iter(full["optimizers"]))
        text = "is []; no run is left: name a model, or give a sweep of this optimizer"
        yield ("optimizers", name, "only"), text
    if (runs := len(trained) * len(full["seeds"])) > _MOST_RUNS:
        text = f"has {len(full['seeds'])} entries, which makes {runs} runs; at most {_MOST_RUNS}"
        yield ("seeds",), text

    for (model, optimizer), chosen in options.items():
        start, steps = chosen["start"], chosen["steps"]
        if start + every > steps:
            own = full["optimizers"][optimizer]["models"].get(model, {})
            key = "steps" if "steps" in own and "start" not in own else "start"
            place = ("optimizers", optimizer, *(("models", model) if key in own else ()), key)
            text = f"start + snapshots.every ({start} + {every}) must be at most steps ({steps})"
            yield place, f"is {chosen[key]}; {text}"
        elif chosen["restart"] is not None and not start + every <= chosen["restart"] < steps:
            own = full["optimizers"][optimizer]["models"].get(model, {})
            place = ("optimizers", optimizer, *(("models", model) if "restart" in own else ()))
            text = f"it must be from start + snapshots.every ({start} + {every}) to below steps"
            yield (*place, "restart"), f"is {chosen['restart']}; {text} ({steps})"
        if model in _trains(full, optimizer):
            yield from _missing_flows(full, model, optimizer, chosen)
        images = _samples(full, models[model])
        if _above(batch := chosen["batch_size"], images):
            own = full["optimizers"][optimizer]["models"].get(model, {})
            place = ("optimizers", optimizer, *(("models", model) if "batch_size" in own else ()))
            yield (
                (*place, "batch_size"),
                f"is {batch}; {model} is trained on {images} images",
            )


def _bad_compute(
    full: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    options: Mapping[tuple[str, str], Mapping[str, Any]],
) -> Iterator[Problem]:
    """Devices whose shares are not equal, and more samples at once than a share has."""
    devices, at_once = full["compute"]["devices"], full["compute"]["samples_at_once"]
    own = {model: network["samples"] is not None for model, network in models.items()}
    sizes = [
        (f"models.{model}.samples" if own[model] else "dataset.samples", _samples(full, network))
        for model, network in models.items()
    ]
    samples = max(size for _, size in sizes)
    sizes += [("batch_size", chosen["batch_size"]) for chosen in options.values()]
    for sweep in full["sweeps"].values():
        sizes += [("batch_size", size) for size in sweep["over"].get("batch_size", ())]
    for name, size in sizes:
        whole = isinstance(size, int) or (isinstance(size, float) and size.is_integer())
        if whole and size > 0 and size % devices:  # others are named where they are refused
            fewer = next(n for n in range(min(devices, samples), 0, -1) if size % n == 0)
            text = f"is {devices}; it must divide {name}, {size}: {fewer} does"
            yield ("compute", "devices"), text
    if at_once is not None and at_once > samples // devices:
        text = f"is {at_once}; a device has {samples // devices} samples: give no more, or null for all"
        yield ("compute", "samples_at_once"), text


def _missing_flows(
    full: Mapping[str, Any], model: str, optimizer: str, chosen: Mapping[str, Any]
) -> Iterator[Problem]:
    """Flows that do not exist for an optimizer."""
    entry, own = full["optimizers"][optimizer], chosen["flows"]
    place: Place = ("flows",)
    if own is not None:
        inner = ("models", model) if "flows" in entry["models"].get(model, {}) else ()
        place = ("optimizers", optimizer, *inner, "flows")
    flows = full["flows"] if own is None else own
    for text in _without(optimizer, flows, chosen["batch_size"]):
        yield place, f"{text}; give {optimizer} flows of its own"


def _without(optimizer: str, flows: Sequence[str], batch: int | None) -> Iterator[str]:
    """Why an optimizer has none of one of the flows."""
    if batch is not None and flows:
        yield f"has {flows[0]} for {optimizer} with batch_size {batch}; a flow follows full batches"
    for flow in flows:
        entry = FLOWS[flow]
        if not entry.supports(optimizer, OPTIMIZERS[optimizer]):
            known = ", ".join(n for n in OPTIMIZERS if entry.supports(n, OPTIMIZERS[n]))
            name = flow.replace("_", " ")
            yield f"has {flow} for {optimizer}; the {name} flow {entry.why}: it exists for {known}"


def _bad_sweeps(
    full: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    options: Mapping[tuple[str, str], Mapping[str, Any]],
    rules: _Rules,
) -> Iterator[Problem]:
    """Sweeps over what is not there, or over values that cannot be run."""
    images = {name: _samples(full, model) for name, model in models.items()}
    for name, entry in full["sweeps"].items():
        place: Place = ("sweeps", name)
        strange = False
        for part in ("model", "optimizer"):
            for index, word in enumerate(_names(entry[part])):
                if word not in (known := full[f"{part}s"]):
                    strange = True
                    inner = (part,) if isinstance(entry[part], str) else (part, index)
                    text = f"is {_show(word)}; the {part}s are {_all_of(known)}"
                    yield (*place, *inner), text + _suggest(word, known)
        if strange:
            continue
        runs = _run_count(entry, full["seeds"])
        if runs > _MOST_RUNS:
            yield (*place, "over"), f"makes {runs} runs; a sweep may have at most {_MOST_RUNS}"
            continue
        problems = [
            ((*place, *inner), text)
            for model, optimizer in _places(entry)
            for inner, text in _bad_axes(
                full, entry, optimizer, options[model, optimizer], rules, images[model]
            )
        ]
        problems += [((*place, *inner), text) for inner, text in _unpaired(entry)]
        yield from problems
        if problems:
            continue
        for model, optimizer in _places(entry):
            for values in _combinations(entry):
                chosen = {**options[model, optimizer], **values}
                start, steps, every = chosen["start"], chosen["steps"], full["snapshots"]["every"]
                if start + every > steps:
                    axis = next((key for key in ("steps", "start") if key in values), "start")
                    text = f"start + snapshots.every ({start} + {every}) must be at most steps ({steps})"
                    yield (*place, "over", axis), text
                for text in _without(optimizer, entry["flows"], chosen["batch_size"]):
                    yield (*place, "flows"), text


def _bad_axes(
    full: Mapping[str, Any],
    entry: Mapping[str, Any],
    optimizer: str,
    usual: Mapping[str, Any],
    rules: _Rules,
    images: int,
) -> Iterator[Problem]:
    """Axes that an optimizer does not have, and values that it does not take."""
    properties = rules.root["properties"]
    own = properties["optimizers"]["properties"][optimizer]
    shared = {"criterion": properties["criterion"], "seed": properties["seeds"]["items"]}
    known = [*(key for key in usual if key not in _NOT_HYPERPARAMETERS), *_AXES]
    for key, values in entry["over"].items():
        if key not in known and key not in shared:
            takes = f"{optimizer} has {', '.join([*known, *shared])}{_suggest(key, known)}"
            yield ("over", key), f"is no axis; {takes}"
            continue
        for index, value in enumerate(values):
            rule = shared.get(key, own)
            tried = value if key in shared else {"learning_rate": 1.0, key: value}
            checked = rules.validator.evolve(schema={"$defs": rules.root["$defs"]} | rule)
            for error in checked.iter_errors(tried):
                yield ("over", key, index), f"is {_show(value)}; {_allowed(error)}"
            if key == "batch_size" and _above(value, images):
                text = f"is {value}; the model is trained on {images} images"
                yield ("over", key, index), text


def _unpaired(entry: Mapping[str, Any]) -> Iterator[Problem]:
    """Axes that are paired with a longer one, though they have more values than one."""
    longest = max(entry["over"], key=lambda key: len(entry["over"][key]))
    count = len(entry["over"][longest])
    for key, values in entry["over"].items() if entry["how"] == "paired" else ():
        if len(values) not in (1, count):
            text = f"paired with {longest} it must have {count}, or one that holds for all"
            yield ("over", key), f"has {len(values)} values; {text}"


def _above(value: Any, most: int) -> bool:
    """Whether a value is a number above another; what is no number is refused elsewhere."""
    return isinstance(value, int | float) and value > most


def _refuse(problems: Iterable[Problem], config: Any) -> None:
    """Raise the first of the problems in the order of `config`, if there is one."""
    texts: dict[Place, str] = {}
    for place, text in problems:
        texts.setdefault(place, text)
    if texts:
        first = min(texts, key=lambda place: _position(place, config))
        path = ".".join(map(_key, first)) or "the config"
        more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
        raise ConfigError(f"{path} {texts[first]}{more}")


def _position(place: Place, config: Any) -> tuple[int, ...]:
    """Where `place` comes in the config; a missing key comes after the keys beside it."""
    position = []
    for key in place:
        keys = list(config) if isinstance(config, dict) else [*range(len(config or ()))]
        found = key in keys
        position.append(keys.index(key) if found else len(keys))
        config = config[key] if found else None
    return tuple(position)


# Words


def _key(key: str | int) -> str:
    text = str(key)
    return text if re.fullmatch(r"[\w-]{1,64}", text) else _show(text)


def _show(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_line(message: object) -> str:
    text = " ".join(str(message).split())
    return text if len(text) <= 300 else f"{text[:297]}..."


def _all_of(names: Iterable[str]) -> str:
    """Names of the user's choice, the first of them if there are many."""
    shown = [*names]
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return ", ".join(shown[:12]) + more


def _suggest(word: Any, known: Iterable[Any]) -> str:
    near = get_close_matches(str(word), map(str, known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _listed(settings: Mapping[str, Any]) -> str:
    shown = {k: v if isinstance(v, str) else _show(v) for k, v in settings.items()}
    return ", ".join(f"{key} {value}" for key, value in shown.items())


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


if __name__ == "__main__":
    sys.exit(main())
