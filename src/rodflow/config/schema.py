"""What a config may say: the keys of every config with what is declared, and their JSON schema.

pydantic, not msgspec, because it reports all that is wrong at once, writes the JSON schema, and is what people of the
field know. Its models are made from the declarations when a config is first checked, so that no list of names is kept.

`python -m rodflow.config.schema` prints the JSON schema; editors read it from `config.schema.json` beside this module.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Literal, TypeVar

from pydantic import Field, TypeAdapter, create_model, with_config
from pydantic.fields import FieldInfo
from typing_extensions import TypedDict

from rodflow.config.catalogue import DATASETS, FIGURES, FLOWS, MODELS, OPTIMIZERS
from rodflow.config.declarations import (
    LEARNING_RATE,
    UNIQUE,
    WHOLE,
    DataSet,
    Form,
    Model,
    Optimizer,
    Setting,
)
from rodflow.config.experiment import Settings
from rodflow.config.keys import (
    STRICT,
    Config,
    Criterion,
    DataSetSettings,
    FolderName,
    ModelName,
    ModelSettings,
    Nothing,
    OptimizerSettings,
    OwnCriterion,
    Seed,
    Strict,
    SweepSettings,
)
from rodflow.config.schedules import SCHEDULES
from rodflow.config.written import NOTHING, Written

Base = TypeVar("Base", bound=Strict)
_mapping: Form = dict  # of forms that no checker of types knows


def config(written: Written = NOTHING) -> TypeAdapter[Config]:
    """What a config may say, with what is declared: in the catalogue, and as `written` in the config itself."""
    return _config(written) if written else _plain_config()


@cache
def _plain_config() -> TypeAdapter[Config]:
    return _config(NOTHING)


def _config(written: Written) -> TypeAdapter[Config]:
    flows = _some_of(FLOWS)
    of_sweeps = [name for name in FIGURES if FIGURES[name].of_sweeps]
    sweep = _narrowed(
        "sweep",
        SweepSettings,
        flows=flows,
        figures=Annotated[_some_of(of_sweeps), Field(min_length=1)],
    )
    models = {name: MODELS[name] for name in MODELS} | {**written.models}
    datasets = {name: DATASETS[name] for name in DATASETS} | {**written.datasets}
    kinds = _one_of("kind", ModelSettings, models)
    optimizers = {name: _optimizer(name) for name in OPTIMIZERS}
    optimizers |= {name: _form(name, one) for name, one in written.optimizers.items()}
    made = _narrowed(
        "rodflow experiment",
        Config,
        dataset=_one_of("name", DataSetSettings, datasets),
        criterion=_criterion(written),
        models=Annotated[_mapping[ModelName, kinds], Field(min_length=1)],
        optimizers=_partial("optimizers", optimizers),
        flows=flows,
        figures=_some_of(name for name in FIGURES if name not in of_sweeps),
        sweeps=_mapping[FolderName, sweep],
    )
    return TypeAdapter(made)


@cache
def axes(optimizer: str) -> TypeAdapter[Settings]:
    """What a sweep over this optimizer may change, all of it optional."""
    return axes_of(OPTIMIZERS[optimizer])


def axes_of(declared: Optimizer) -> TypeAdapter[Settings]:
    """What a sweep over an optimizer that declares this may change."""
    changeable = {k: v for k, v in declared.hyperparameters.items() if k != "python"}
    if declared.scheduled:
        changeable["learning_rate"] = LEARNING_RATE
    own = {**changeable, **_settings()}
    forms = {
        name: _without_default(own[name]) for name in (*changeable, "start", "steps", "batch_size")
    }
    return TypeAdapter(_partial("axes", forms | {"criterion": Criterion, "seed": Seed}))


@cache
def rules(of: TypeAdapter[Config] | TypeAdapter[Settings]) -> Settings:
    """The JSON schema."""
    described = of.json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_untitled(described)}


def rate() -> Setting:
    """A learning rate that changes in time, in place of a number."""
    forms: Form = None
    for name, (title, settings) in SCHEDULES.items():
        tag = (Literal[name], Field(description=title))
        form = _made(f"schedule {name}", (Strict,), {"schedule": tag, **settings})
        forms = form if forms is None else forms | form
    return Annotated[forms, Field(discriminator="schedule")], Field(
        description="A learning rate that changes in time."
    )


def _criterion(written: Written) -> Form:
    if written.criterion is None:
        return Criterion
    return _made("criterion", (OwnCriterion,), {**written.criterion})


def for_editors() -> Settings:
    """The JSON schema of any config: also of code of one's own and of learning rates in time.

    What the code takes is not known to an editor, so its arguments may be anything.
    """
    known = copy.deepcopy(rules(config()))
    parts, defined = known["properties"], known["$defs"]
    for name in DATASETS:
        if name in DATASETS[name].settings:  # which names it too
            defined[name]["required"].remove("name")
    schedules = copy.deepcopy(rules(TypeAdapter(rate()[0])))
    defined |= schedules.pop("$defs")
    defined["schedule"] = {"type": "object", "oneOf": schedules["oneOf"]}
    in_time = {"type": "object", "$ref": "#/$defs/schedule"}
    for form in defined.values():
        number = form.get("properties", {}).get("learning_rate")
        if "learning_rate" in form.get("required", ()):
            words = number.pop("description")
            form["properties"]["learning_rate"] = {"anyOf": [number, in_time], "description": words}
    own = {"type": "object", "$ref": "#/$defs/own_optimizer"}
    shared = {k: rule for k, rule in defined["gd"]["properties"].items() if k != "learning_rate"}
    defined["own_optimizer"] = _own_rule(shared)
    defined["optimizers"]["properties"] = {
        name: {"anyOf": [rule, own], "description": rule.get("description", "")}
        for name, rule in defined["optimizers"]["properties"].items()
    }
    defined["optimizers"]["additionalProperties"] = own
    samples = {"samples": defined["mlp"]["properties"]["samples"]}
    several = {"type": "array", "items": {"type": "string"}, "default": []}
    files = {"files": several | {"description": "Files beside the config that it reads."}}
    parts["dataset"]["oneOf"].append(_own_rule(samples | files))
    (models,) = parts["models"]["patternProperties"].values()
    models["oneOf"].append(_own_rule(samples))
    words, default = (parts["criterion"].pop(key) for key in ("description", "default"))
    parts["criterion"] = {
        "anyOf": [parts["criterion"], _own_rule({})],
        "description": words,
        "default": default,
    }
    return known


def _own_rule(others: Settings) -> Settings:
    python = {
        "type": "string",
        "pattern": r"^[^:\s]+\.py:[A-Za-z_]\w*$",
        "description": "FILE.py:NAME, a file beside the config and a function or class in it, whose arguments are "
        "the other keys.",
    }
    return {"type": "object", "required": ["python"], "properties": {"python": python, **others}}


def _settings() -> dict[str, Setting]:
    """What is set of an optimizer besides its hyperparameters."""
    fields = OptimizerSettings.model_fields
    forms: dict[str, Form] = {
        name: Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        for name, field in fields.items()
    }
    forms |= {"start": Annotated[int, Field(ge=1), WHOLE], "flows": _some_of(FLOWS) | None}
    return {name: (form, _plain(fields[name])) for name, form in forms.items()}


def _optimizer(name: str) -> Form:
    """What a config says of one optimizer; those with the same settings share the form."""
    own = OPTIMIZERS[name].hyperparameters
    first = next(other for other in OPTIMIZERS if OPTIMIZERS[other].hyperparameters == own)
    return Annotated[_family(first), Field(description=OPTIMIZERS[name].title)]


@cache
def _family(name: str) -> Form:
    """The settings of an optimizer: of one model the same, but nothing on models."""
    return _form(name, OPTIMIZERS[name])


def _form(name: str, declared: Optimizer) -> Form:
    settings = _settings()
    others = {**declared.hyperparameters, **settings}
    forms = {key: _without_default(setting) for key, setting in others.items()}
    of_one = _partial(f"{name} of a model", forms | {"only": Nothing, "models": Nothing})
    settings["models"] = (_mapping[str, of_one], settings["models"][1])
    first = _made(f"hyperparameters of {name}", (Strict,), declared.hyperparameters)
    return _made(name, (OptimizerSettings, first), settings)


def _one_of(key: str, base: type[Strict], declared: Mapping[str, Model | DataSet]) -> Form:
    """`base` with the settings of what its `key` names, one form for each name."""
    forms: Form = None
    for name, entry in declared.items():
        tag = (Literal[name], Field(description=entry.title))
        form = _made(name, (base,), {key: tag, **entry.settings})
        forms = form if forms is None else forms | form
    return Annotated[forms, Field(discriminator=key)] if len(declared) > 1 else forms


def _narrowed(name: str, base: type[Base], **forms: Form) -> type[Base]:
    fields = base.model_fields
    return _made(name, (base,), {key: (form, _plain(fields[key])) for key, form in forms.items()})


def _made(name: str, bases: tuple[type[Base], ...], fields: Mapping[str, Setting]) -> type[Base]:
    arguments: dict[str, Form] = {**fields}
    made: type[Base] = create_model(name, __base__=bases, **arguments)
    return made


def _partial(name: str, forms: Mapping[str, Form]) -> Form:
    """A mapping of some of these keys."""
    return with_config(STRICT)(TypedDict(name, {**forms}, total=False))  # type: ignore[misc, operator]


def _some_of(names: Iterable[str]) -> Form:
    return Annotated[list[Literal[tuple(names)]], *UNIQUE]  # type: ignore[misc]


def _plain(field: FieldInfo) -> FieldInfo:
    """The default of a setting and its words for people, without its form."""
    described: FieldInfo = Field(
        field.default, description=field.description, json_schema_extra=field.json_schema_extra
    )
    return described


def _without_default(setting: Setting) -> Form:
    form, field = setting
    return Annotated[form, *field.metadata, Field(description=field.description)]


def _untitled(rule: Form) -> Form:
    """A JSON schema without titles, which repeat the keys."""
    if isinstance(rule, dict):
        kept = {k: v for k, v in rule.items() if k != "title" or not isinstance(v, str)}
        return {key: _untitled(value) for key, value in kept.items()}
    return [_untitled(value) for value in rule] if isinstance(rule, list) else rule


if __name__ == "__main__":
    print(json.dumps(for_editors(), indent=1))
