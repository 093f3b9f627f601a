"""The words in which an optimizer, a flow, a model, a data set and a figure say what they are.

Each of them is one module that holds a declaration beside its code:

    OPTIMIZER = Optimizer(title="Adam.", label="Adam", order=7, hyperparameters=ADAM, momentum="b1")

`rodflow.config.catalogue` reads the declaration from the module's source without importing what the code needs, so that
a config is checked in a moment. A declaration is therefore made of the words of this module and of plain values only.
What a config may say, the names and colours in figures and the files of an experiment all follow from it.
"""

# Longer than others because it is one vocabulary, to be read in one place.

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    get_args,
    get_origin,
)

from pydantic import BeforeValidator, Field, WithJsonSchema, WrapValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, PydanticKnownError

from rodflow.config.values import Settings

Form = Any
"""A type that is made while the program runs, which no checker of types can name."""

Setting = tuple[Form, FieldInfo]
"""A value that a config gives: its type, and its limits, default and description as pydantic has them."""

# Settings

Number = TypeVar("Number", bound=float)


class Bounds(TypedDict, Generic[Number], total=False):
    """Limits of a number, as pydantic has them."""

    gt: Number
    ge: Number
    lt: Number
    le: Number


class Limits(Bounds[float], total=False):
    """Limits of any value, as pydantic has them."""

    min_length: int
    max_length: int
    pattern: str


def _whole(value: object) -> object:
    if isinstance(value, bool):  # which Python takes for 0 or 1
        raise PydanticKnownError("int_type")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_repetition(values: object) -> object:
    if isinstance(values, list):
        # Python takes 1 and true for the same, JSON does not; a list has no hash.
        seen = [(isinstance(v, bool), v if isinstance(v, Hashable) else str(v)) for v in values]
        if len({*seen}) < len(seen):
            raise PydanticCustomError("repeated", "no entry may be repeated")
    return values


WHOLE = BeforeValidator(_whole)
"""What is asked of a whole number after its limits: that 600.0 is one, as in JSON."""

UNIQUE = (BeforeValidator(_without_repetition), Field(json_schema_extra={"uniqueItems": True}))
"""What is asked of a list besides the types of its entries: none is given twice."""


def number(description: str, default: float = ..., **limits: Unpack[Bounds[float]]) -> Setting:  # type: ignore[assignment]
    """A number. Without a default it must be given.

    Args:
        description: a sentence for the schema.
        default: what holds where a config says nothing.
        limits: pydantic's `gt`, `ge`, `lt` and `le`.
    """
    return float, _field(description, default, **limits)


def whole(description: str, default: int | None = ..., **limits: Unpack[Bounds[int]]) -> Setting:  # type: ignore[assignment]
    """A whole number; with a default of None a config may say null.

    Args:
        description, default, limits: as for `number`.
    """
    kind: Form = Annotated[int, _field("", ..., **limits), WHOLE]
    return (kind if default is not None else kind | None), _field(description, default)


def choice(description: str, default: str | int, *allowed: str | int) -> Setting:
    """One of the allowed values.

    Args:
        description: a sentence for the schema.
        default: what holds where a config says nothing.
        allowed: the values.
    """
    kind: Form = Annotated[Literal[allowed], WHOLE]  # type: ignore[valid-type]
    return kind, _field(description, default)


def choices_of(setting: Setting) -> tuple[str | int, ...]:
    """The allowed values of a setting that is made by `choice`; () of any other."""
    kind = get_args(setting[0])[0] if get_origin(setting[0]) is Annotated else setting[0]
    return get_args(kind) if get_origin(kind) is Literal else ()


def choices(description: str, *allowed: str, least: int = 1) -> Setting:
    """A list of some of the allowed values without repetition, or null for all of them.

    Args:
        description: a sentence for the schema.
        allowed: the values.
        least: how many of them a list has at least.
    """
    several: Form = Annotated[list[Literal[allowed]], _field("", ..., min_length=least), *UNIQUE]  # type: ignore[valid-type]
    return several | None, _field(description, None)


_LARGEST_WIDTH = 65536


def widths(description: str, default: Sequence[int]) -> Setting:
    """A list of 1 to 100 whole numbers from 1 to 65536.

    Args:
        description: a sentence for the schema.
        default: what holds where a config says nothing.
    """
    several: Form = list[Annotated[int, _field("", ..., ge=1, le=_LARGEST_WIDTH), WHOLE]]
    return several, _field(description, list(default), min_length=1, max_length=100)


def width(description: str, default: int) -> Setting:
    """A whole number from 1 to 65536.

    Args:
        description: a sentence for the schema.
        default: what holds where a config says nothing.
    """
    return whole(description, default, ge=1, le=_LARGEST_WIDTH)


def text(description: str, **limits: Unpack[Limits]) -> Setting:
    """A text, or null, which is the default; `limits` are pydantic's `pattern` and `min_length`."""
    kind: Form = Annotated[str, _field("", ..., **limits)]
    return kind | None, _field(description, None)


def value(kind: Form, description: str, default: object = ..., **limits: Unpack[Limits]) -> Setting:
    """A value of any type; without a default it must be given.

    Args:
        kind: its type, as pydantic takes it.
        description: a sentence for the schema.
        default: what holds where a config says nothing.
        limits: pydantic's, see `Limits`.
    """
    return kind, _field(description, default, **limits)


def _field(description: str, default: object, **limits: Unpack[Limits]) -> FieldInfo:
    """What pydantic has of a setting; its own function says Any."""
    return cast(FieldInfo, Field(default, description=description or None, **limits))


# Data sets


def test(most: int) -> Setting:
    """How many images are held out, of so many at most; a run that asks for none is what it was without the key."""
    words = "Images that nothing is trained on, for the test loss and accuracy of every process; null: none."
    return whole(words, None, ge=1, le=most)


CONTEXT = whole("Characters in a sequence.", 32, ge=1, le=4096)

# Optimizers

BY_ONSET = "by_onset"
"""What a config says instead of a learning rate that `rodflow.config.rates` chooses."""


def _or_by_onset(value: object, check: Callable[[object], object]) -> object:
    return value if value == BY_ONSET else check(value)


_RATE: Form = Annotated[
    float,
    Field(gt=0),
    WrapValidator(_or_by_onset),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": BY_ONSET}]}),
]
LEARNING_RATE: Setting = (
    _RATE,
    _field(f"Step size eta, or {BY_ONSET}: chosen by the onset of oscillations.", ...),
)
MOMENTUM = number("Decay of the moving average of the gradient.", 0.9, ge=0, lt=1)
B1 = number("Decay of the first moment.", 0.9, ge=0, lt=1)
B2 = number("Decay of the second moment.", 0.99, ge=0, lt=1)
EPS = number("Added to the root of the second moment.", 1e-8, gt=0)
RMSPROP: dict[str, Setting] = {"learning_rate": LEARNING_RATE, "b2": B2, "eps": EPS}
ADAM: dict[str, Setting] = {"learning_rate": LEARNING_RATE, "b1": B1, "b2": B2, "eps": EPS}
K_ADAM: dict[str, Setting] = ADAM | {"k": whole("How many rescalings; 1 is Adam.", 2, ge=1, le=8)}

SYMBOLS: Mapping[str, str] = {
    "learning_rate": r"$\eta$",
    "momentum": r"$\beta$",
    "b1": r"$\beta_1$",
    "b2": r"$\beta_2$",
    "beta": r"$\beta$",
    "weight_decay": r"$\lambda$",
}
"""Formulas of hyperparameters in figures; an optimizer adds those of its own."""

OTHER_SYMBOLS: Mapping[str, str] = {"eps": r"$\epsilon$", "k": "$k$"}
"""Formulas of hyperparameters that are named only where runs differ in them."""


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """What an optimizer is, beside its module's functions `build`, `threshold` and `decay`.

    Attributes:
        title: a sentence for the schema.
        label: its name for people.
        order: where it stands in tables; the nine of theory are 1 to 9.
        hyperparameters: by name, in the order of the schema.
        adaptive: whether its preconditioner is sqrt(nu_hat) + eps with the second moment `nu` that it keeps.
        momentum: the hyperparameter that is the decay of the moving average of gradients along which it steps; "" where
            it steps along the gradient itself, None where along something else (Nesterov's, a decayed weight).
        normalises: whether its step has a length of its own, whatever the gradient's.
        shapeless: whether it steps the same numbers alike in any shape, so that it acts on the flat weights. Otherwise
            it acts on the model's tree of parameters.
        linear: whether its step is linear in a small gradient, so that it has a threshold. Otherwise (a sign, a
            normalised matrix) its sharpness is that of the Hessian, and over a threshold it is no number.
        symbols: formulas of hyperparameters that `SYMBOLS` does not have.
        scheduled: whether its learning rate changes in time, so that only flows that follow the map as it is exist.
    """

    title: str
    label: str
    order: int
    hyperparameters: Mapping[str, Setting] = field(hash=False)
    adaptive: bool = False
    momentum: str | None = ""
    normalises: bool = True
    shapeless: bool = False
    linear: bool = True
    symbols: Mapping[str, str] = field(default_factory=dict, hash=False)
    scheduled: bool = False

    @property
    def formulas(self) -> Mapping[str, str]:
        """The formulas of hyperparameters in figures, by name."""
        return {**SYMBOLS, **self.symbols}


# Flows

Support = Callable[[str, Optimizer], bool]
"""From an optimizer's name and declaration to whether a flow exists for it."""


def any_optimizer(name: str, optimizer: Optimizer) -> bool:
    """Every optimizer.

    Args:
        name, optimizer: as for any `Support`; not looked at.
    """
    return True


def of(*names: str) -> Support:
    """These optimizers only."""
    return lambda name, optimizer: name in names


def without_momentum(name: str, optimizer: Optimizer) -> bool:
    """Optimizers that step along the gradient itself.

    Args:
        name: of the optimizer; not looked at.
        optimizer: its declaration.
    """
    return optimizer.momentum == ""


ROD: Mapping[str, str] = {
    "loss_plus": "full-batch loss at the rod's end Z + X",
    "loss_minus": "full-batch loss at the rod's end Z - X",
    "rod_length": "norm of the weights' half-extent ||X_w||",
}
"""What a flow with a rod shows at every step, in words."""

GRADIENTS: Mapping[str, str] = {"gradients": "gradients evaluated in the unit of time"}
"""What a flow shows that counts its gradients."""

PRODUCTS: Mapping[str, str] = {
    "hessian_products": "Hessian-vector products formed in the unit of time"
}
"""What a flow shows that counts its Hessian-vector products."""

NOISE: Mapping[str, str] = {
    "noise": "norm of the noise in the gradient of the batch over that of the full gradient",
    "negative": "entries of a second moment that turned negative in the step",
}
"""What a flow of minibatch training shows at every step, in words."""

CENTRE: Mapping[str, str] = {
    "averaged_loss": "loss averaged over the oscillation, L + <H, Sigma> / 2",
    "averaged_squared_gradient": "squared gradient averaged over the oscillation, |g|^2 + tr H Sigma H",
    "oscillation": "root mean square of the oscillation of the weights, (tr Sigma)^(1/2)",
    "variance_1": "variance of the oscillation P^(1/2) w along its first direction, by P^(1/2) Sigma P^(1/2)",
    "variance_2": "the same along its second direction",
    "variance_3": "the same along its third direction",
    "tracked": "directions near the threshold that take part in the complementarity problem",
    "untracked": "1 where a direction is at the threshold that takes no part in it",
    "unsolved": "complementarity problems of the unit of time that were not solved",
    "third_derivatives": "third derivatives of the loss along two directions formed in the unit of time",
}
"""What a central flow shows at every step, in words."""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What a continuous-time model is, beside its module's `process`, which makes a `rodflow.dynamics.process.Process`.

    Attributes:
        title: a sentence for the schema.
        label: its name for people.
        short: the same where a figure says already what it is about.
        order: where it stands in the schema.
        color: of its line, a name of `rodflow.figures.core.style.PALETTE`, or "ink".
        dashes: of its line, as matplotlib has them.
        above: the height of its line among those of other processes.
        marker: where it is a point, as matplotlib has them.
        series: what it shows at every step besides what all do, by name, in words.
        supports: for which optimizers it exists.
        why: the reason where it does not, after "the ... flow".
        batches: whether it models a run on minibatches, with whose size its `process` is then made. The others follow
            full batches.
    """

    title: str
    label: str
    short: str
    order: int
    color: str
    dashes: str | tuple[float, tuple[float, ...]] = "-"
    above: float = 2.15
    marker: str = "X"
    series: Mapping[str, str] = field(default_factory=dict, hash=False)
    supports: Support = any_optimizer
    why: str = ""
    batches: bool = False


# Models and data sets


Relation = Callable[[Settings], tuple[str, str] | None]
"""Whether settings of a model go together, with each other and with those of the data set, as "dataset.size".

It gives None, or the setting that does not fit and what is wrong with it.
"""


def divides(key: str, whole: str) -> Relation:
    """A setting divides another one.

    Args:
        key: the setting of the model that must divide.
        whole: the setting that it divides, of the model or as "dataset.size"; where it is null nothing is demanded.
    """

    def relation(settings: Settings) -> tuple[str, str] | None:
        own, other = settings[key], settings.get(whole)
        if other is None or other % own == 0:
            return None
        return key, f"is {own}; it must divide {whole}, {other}"

    return relation


def each_halves(key: str, side: str) -> Relation:
    """Each entry of a list halves the side of an image, which keeps a pixel.

    Args:
        key: the setting of the model that is the list.
        side: the setting that is the side in pixels, as "dataset.size"; where it is null nothing is demanded.
    """

    def relation(settings: Settings) -> tuple[str, str] | None:
        entries, pixels = len(settings[key]), settings.get(side)
        if pixels is None or 2**entries <= pixels:
            return None
        return key, f"has {entries} entries; each halves the image, whose side is {pixels}"

    return relation


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a kind of network is, beside its module's `network`, which makes the flax module of some settings.

    Attributes:
        title: a sentence for the schema.
        label: its name for people.
        order: where it stands in the schema.
        settings: by name, in the order of the schema.
        relations: what must hold between them, and with those of the data set.
        takes: which data it is for, see `DataSet.gives`.
        cost: roughly, how much longer its gradient takes than that of an MLP on the same data.
    """

    title: str
    label: str
    order: int
    settings: Mapping[str, Setting] = field(hash=False)
    relations: tuple[Relation, ...] = ()
    takes: tuple[str, ...] = ("images",)
    cost: float = 10.0


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What a data set is, beside its module's `load`, which reads it with some settings.

    Attributes:
        title: a sentence for the schema.
        label: its name for people.
        order: where it stands in the schema.
        settings: by name, in the order of the schema; `samples`, how many of them, is one of every data set.
        per_class: how many images each class has, where `classes` may be chosen.
        places: settings that say where it is read from, and so do not belong to what a run is.
        gives: "images", "text" (sequences of whole numbers) or "arrays" (of any shape).
        numbers: settings -> roughly, how many numbers a sample has, a token counting as 64.
    """

    title: str
    label: str
    order: int
    settings: Mapping[str, Setting] = field(hash=False)
    per_class: int | None = None
    places: tuple[str, ...] = ()
    gives: Literal["images", "text", "arrays"] = "images"
    numbers: Callable[[Settings], int] = field(default=lambda settings: 64, hash=False)


# Figures


class Run(Protocol):
    """What a figure may choose its runs by: a `rodflow.config.experiment.Run`."""

    @property
    def model(self) -> str:
        """The model's name in the config."""

    @property
    def optimizer(self) -> str:
        """The optimizer's name."""

    @property
    def seed(self) -> int:
        """Seed of the initial weights."""

    @property
    def flows(self) -> tuple[str, ...]:
        """The continuous-time models that are compared with it."""

    @property
    def settings(self) -> Settings:
        """Everything that determines the trajectory."""


AnyRun = TypeVar("AnyRun", bound=Run)


class Choice(Protocol):
    """From runs of any kind to those that are chosen."""

    def __call__(self, runs: Sequence[AnyRun], /) -> Sequence[AnyRun]:
        """Some of them."""


def every_run(runs: Sequence[AnyRun]) -> Sequence[AnyRun]:
    """All of them."""
    return runs


def no_run(runs: Sequence[AnyRun]) -> Sequence[AnyRun]:
    """None: the figure is drawn from an artifact of the experiment's own."""
    return ()


def with_flow(flow: str) -> Choice:
    """Those that are compared with this flow."""
    return lambda runs: [run for run in runs if flow in run.flows]


def of_optimizers(*names: str) -> Choice:
    """Those of these optimizers."""
    return lambda runs: [run for run in runs if run.optimizer in names]


def except_optimizers(*names: str) -> Choice:
    """Those of other optimizers than these."""
    return lambda runs: [run for run in runs if run.optimizer not in names]


def normalised(runs: Sequence[AnyRun]) -> Sequence[AnyRun]:
    """Those of models with a normalisation layer."""
    return [run for run in runs if run.settings["model"].get("normalisation", "none") != "none"]


def tested(runs: Sequence[AnyRun]) -> Sequence[AnyRun]:
    """Those with a test set."""
    return [run for run in runs if run.settings["dataset"].get("test")]


def one_of_each_kind(runs: Sequence[AnyRun]) -> Sequence[AnyRun]:
    """Of the first model and seed, a run that is plain, one that is preconditioned, and one with momentum."""
    first = [run for run in runs if (run.model, run.seed) == (runs[0].model, runs[0].seed)]
    return [run for run in first if run.optimizer in ("gd", "rmsprop", "adam")] or first[:3]


ALONG_RUNS = ("comparison", "trajectories", "sharpness")
"""The artifacts that most figures are drawn from."""


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """What a figure is drawn from, beside its module's `draw`.

    Attributes:
        per: what there is one figure for: the experiment, each model, each sweep that names it with the main runs it
            starts from, or all such sweeps together.
        needs: the artifacts of a run that it reads: "comparison", "trajectories", "sharpness", "iterates",
            "onset_window", "outputs"; or one of `OF_NO_RUN`.
        order: where it stands in the schema.
        runs: which of the runs are drawn.
        caption: reStructuredText in three paragraphs: the claim to look for, how to read the figure, and what it is
            drawn from. `{part}` stands for the model or sweep that the figure is of.
    """

    per: Literal["experiment", "model", "sweep", "sweeps"]
    needs: tuple[str, ...]
    order: int
    runs: Choice = every_run
    caption: str = ""

    def captioned(self, part: str, shows: str = "") -> str:
        """The caption of one figure.

        Args:
            part: the model or sweep that it is of, or "".
            shows: sentences on what its runs show, which follow the claim.
        """
        claim, *others = self.caption.replace("{part}", part).strip().split("\n\n")
        return "\n\n".join([f"{claim} {shows}".strip(), *others]) + "\n"

    @property
    def of_no_run(self) -> bool:
        """Whether it is drawn from an artifact of the experiment's own."""
        return any(name in OF_NO_RUN for name in self.needs)

    @property
    def of_sweeps(self) -> bool:
        """Whether a sweep names it, not the experiment."""
        return self.per in ("sweep", "sweeps")


OF_NO_RUN = ("toy", "adam_region")
"""Artifacts of the experiment itself, `<name>.nc`. A figure that needs one is drawn from it alone."""
