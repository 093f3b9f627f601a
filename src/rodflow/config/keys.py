"""The keys of every config, with their limits, defaults and words for people.

What depends on the optimizers, flows, models, data sets and figures that there are `rodflow.config.schema` narrows:
here a flow is any text, and a model has no settings of its own kind.
"""

from collections.abc import Callable
from typing import Annotated, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from rodflow.config.catalogue import OPTIMIZERS
from rodflow.config.declarations import BY_ONSET, UNIQUE, WHOLE, Optimizer
from rodflow.config.experiment import Settings
from rodflow.config.messages import FOLDER_NAME, FOLDER_PATTERN
from rodflow.config.rates import SHORTEST, Rate
from rodflow.config.written import NOTHING, Written

# Kinds of values

STRICT = ConfigDict(extra="forbid", strict=True, validate_default=True, defer_build=True)


class Strict(BaseModel):
    """Settings as they are written: no other keys, and no text for a number."""

    model_config = STRICT


def _not_here(value: object) -> object:
    raise PydanticCustomError("refused", "it is not allowed here")


def _not_a_folder_of_ours(name: str) -> object:
    return _not_here(name) if name in ("figures", "logs", "summary", "sweeps") else name


def _in_a_list(names: object) -> object:
    return [names] if isinstance(names, str) else names


FolderName = Annotated[
    str,
    Field(
        pattern=FOLDER_PATTERN,
        json_schema_extra={"patternErrorMessage": FOLDER_NAME},  # as editors have it
    ),
]
ModelName = Annotated[FolderName, AfterValidator(_not_a_folder_of_ours)]
_ONE_OR_MORE: Settings = {
    "type": ["string", "array"],
    "items": {"type": "string"},
    "minItems": 1,
    "uniqueItems": True,
}
Names = Annotated[
    list[str],
    Field(min_length=1),
    *UNIQUE,
    BeforeValidator(_in_a_list),
    WithJsonSchema(_ONE_OR_MORE),
]
Nothing = Annotated[object, BeforeValidator(_not_here), WithJsonSchema({"not": {}})]
Positive = Annotated[int, Field(ge=1), WHOLE]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1), WHOLE]
Criterion = Literal["mse", "cross_entropy"]

# The keys of every config


class DataSetSettings(Strict):
    """The data set; its declaration adds the rest."""

    name: str
    samples: Positive | None


class ModelSettings(Strict):
    """A network; the declaration of its kind adds the rest."""

    kind: str
    samples: Positive | None = Field(
        default=None,
        description="How many of the data set's images it is trained on, the first ones; null: all.",
    )
    steps: Annotated[int, Field(ge=SHORTEST, le=10_000_000), WHOLE] | None = Field(
        default=None,
        description=f"Length of its runs whose learning_rate is {BY_ONSET}.",
    )


class OptimizerSettings(Strict):
    """How an optimizer trains; its declaration puts the hyperparameters before."""

    start: Positive = Field(
        default=50,
        description="Step t0 at which the flows start, from the states at t0 - 1, t0 and t0 + 1: after the first "
        "transient, or 1 for a flow that follows it.",
    )
    steps: Annotated[int, WHOLE] = Field(
        default=1000, ge=3, le=10_000_000, description="Length of the run."
    )
    restart: Annotated[int, Field(ge=2), WHOLE] | None = Field(
        default=None,
        description="Step at which the rod flow is started once more, to predict single iterates; null: where the "
        "rod of the iterates opens.",
    )
    batch_size: Positive | None = Field(
        default=None,
        description="Images of a step, drawn without replacement until all were; null: all of them in every step.",
    )
    flows: list[str] | None = Field(
        default=None,
        description="Flows of these runs, perhaps none; null: those of the experiment.",
    )
    only: Annotated[list[str], *UNIQUE] | None = Field(
        default=None,
        description="Names of the models that it trains, perhaps none but those of a sweep; null: all.",
    )
    models: dict[str, Settings] = Field(
        default={}, description="Other values for single models: {<model>: {<key>: <value>}}."
    )


class SweepSettings(Strict):
    """Runs with other values."""

    model: Names = Field(description="Name of one of the models, or a list of such.")
    optimizer: Names = Field(description="Name of one of the optimizers, or a list of such.")
    over: dict[str, Annotated[list[object], Field(min_length=1), *UNIQUE]] = Field(
        min_length=1,
        description="The values of each axis: a hyperparameter, batch_size, start, steps, criterion or seed.",
    )
    how: Literal["each", "paired", "product"] = Field(
        default="each",
        description="each: one axis at a time; paired: the first values of all axes, the second ones, and so on, a "
        "single one for all; product: all combinations.",
    )
    flows: list[str] = Field(
        default=["stable", "rod_unit_step"], description="Flows of these runs, perhaps none."
    )
    figures: list[str] = Field(
        default=["hyperparameters"],
        min_length=1,
        description="Figures to draw of these runs and the main runs that they start from.",
    )


class Snapshots(Strict):
    """When the weights are kept."""

    every: Annotated[int, WHOLE] = Field(
        default=10, ge=1, description="Keep the weights every so many steps, counted from start."
    )


class Sharpness(Strict):
    """How eigenvalues are found."""

    count: Annotated[int, WHOLE] = Field(
        default=3,
        ge=1,
        le=28,
        description="How many of the largest eigenvalues; a third of the smallest network's 85 weights at most.",
    )
    tolerance: float = Field(
        default=1e-3,
        gt=0,
        lt=1,
        description="Relative residual at which an eigenvalue is accepted.",
    )
    every: Annotated[int, WHOLE] = Field(
        default=1, ge=1, description="Look at each how many-th snapshot."
    )


class Compute(Strict):
    """How a job uses the machine."""

    devices: Annotated[int, WHOLE] = Field(
        default=1,
        ge=1,
        description="Devices over which a job spreads the samples, in equal shares.",
    )
    samples_at_once: Positive | None = Field(
        default=None,
        description="How many samples a device works on at a time, where memory is short; null: all it has.",
    )


class OwnCriterion(Strict):
    """A criterion of one's own; its arguments add the rest."""

    python: str


class Config(Strict):
    """A whole config."""

    _written: Written = PrivateAttr(default=NOTHING)

    name: FolderName = Field(description="Name of the experiment; its files go to results/<name>/.")
    dataset: DataSetSettings = Field(
        default=cast(DataSetSettings, {"name": "digits"}),
        description="The data, all of them in every step (full batch).",
    )
    criterion: Criterion | OwnCriterion = Field(
        default="mse", description="Loss: mse is half the mean squared norm against one-hot labels."
    )
    models: dict[ModelName, ModelSettings] = Field(
        min_length=1,
        description="Networks to train, each under a name of your choice.",
        json_schema_extra={"additionalProperties": False},
    )
    optimizers: dict[str, OptimizerSettings] = Field(
        description="Optimizers to train with; every model is trained with every one.",
        json_schema_extra={"minProperties": 1},
    )
    seeds: Annotated[list[Seed], Field(min_length=1), *UNIQUE] = Field(
        default=[0], description="Seeds of the initial weights; everything is run with every one."
    )
    flows: list[str] = Field(
        default=["stable", "rod", "rod_unit_step"],
        description="Continuous-time models compared with the discrete run.",
    )
    replicas: Annotated[int, WHOLE] = Field(
        default=3,
        ge=0,
        le=100,
        description="How many replicas of a discrete run show how well it can be predicted at all.",
    )
    sweeps: dict[FolderName, SweepSettings] = Field(
        default={},
        description="Further runs with other hyperparameters, each sweep under a name of your choice.",
        json_schema_extra={"additionalProperties": False},
    )
    snapshots: Snapshots = Field(default=Snapshots(), description="When the weights are kept.")
    sharpness: Sharpness = Field(
        default=Sharpness(),
        description="How the eigenvalues of the preconditioned Hessian are found.",
    )
    rates: list[Rate] = Field(
        default=[],
        description="What rodflow choose found of learning rates; read from NAME.rates.csv beside NAME.yaml.",
    )
    compute: Compute = Field(
        default=Compute(),
        description="How a job uses the machine: changes rounding, cost and memory, and nothing else.",
    )
    figures: list[str] = Field(
        default=["tracking", "thresholds", "tracking_summary"],
        description="Figures to draw of the main runs; those of a sweep are named there.",
    )

    def declared(self, optimizer: str) -> Optimizer:
        """What the optimizer of this name declares: its own code, or the catalogue."""
        return self._written.optimizers.get(optimizer) or OPTIMIZERS[optimizer]

    @property
    def written(self) -> Written:
        """What stands in the config of code of one's own."""
        return self._written

    @written.setter
    def written(self, found: Written) -> None:
        self._written = found

    @field_validator("optimizers", mode="wrap")
    @classmethod
    def _in_the_order_given(cls, given: object, check: Callable[[object], Settings]) -> Settings:
        if given == {}:
            raise PydanticCustomError("refused", "it must not be empty")
        checked = check(given)
        return {name: checked[name] for name in given}  # type: ignore[attr-defined]
