"""Every transformation of the installed optax: whether it runs, whether it is itself, and what threshold it has.

    python benchmarks/optax_transformations.py > docs/optax.md
    python benchmarks/optax_transformations.py muon adam     # these rows only, a first look

Each makes some steps on a small tree of parameters twice, by plain optax and as the map F that flows follow. Those that
`rodflow.optimizers.optimizer_map` refuses say why. What combines others stands with an example.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from rodflow.optimizers.errors import OptimizerError
from rodflow.optimizers.instability import first_instability
from rodflow.optimizers.on_tree import Layout
from rodflow.optimizers.optimizer_map import OptimizerMap, optimizer_map

STEPS, LOOKED_AT = 30, 5
"""Steps that are compared, and after which the optimizer is linearised."""

_RNG = np.random.default_rng(0)
_INPUTS, _TARGETS = _RNG.standard_normal((20, 6)), _RNG.standard_normal((20, 3))
_PARAMETERS = {
    "first": {"b": 0.1 * _RNG.standard_normal(5), "w": 0.4 * _RNG.standard_normal((6, 5))},
    "last": {"b": 0.1 * _RNG.standard_normal(3), "w": 0.4 * _RNG.standard_normal((5, 3))},
}

Build = Callable[[], optax.GradientTransformation]


class Row(NamedTuple):
    """What is found of a transformation.

    Attributes:
        name: of its maker.
        runs: whether it is a deterministic map of a state.
        difference: from plain optax after `STEPS` steps, over the distance moved; NaN if it does not run.
        precision: of the weights.
        threshold: "alternates", the angle, or "none".
        reason: why it is refused, or has no threshold.
    """

    name: str
    runs: bool
    difference: float = float("nan")
    precision: str = ""
    threshold: str = ""
    reason: str = ""


def loss(parameters: PyTree) -> Array:
    """Squared error of a small network with one hidden layer."""
    first, last = parameters["first"], parameters["last"]
    inputs, targets = (jnp.asarray(data, first["w"].dtype) for data in (_INPUTS, _TARGETS))
    hidden = jnp.tanh(inputs @ first["w"] + first["b"])
    return jnp.mean((hidden @ last["w"] + last["b"] - targets) ** 2)


def _parameters(precision: str) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, precision), _PARAMETERS)


def _matrices(parameters: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, parameters)


def _kinds(parameters: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: "matrix" if leaf.ndim > 1 else "vector", parameters)


def _before(first: optax.GradientTransformation) -> optax.GradientTransformation:
    return optax.chain(first, optax.sgd(0.1, 0.9))


_KINDS = {"matrix": optax.adam(0.02), "vector": optax.sgd(0.1, 0.9)}

WITH_ARGUMENTS: Mapping[str, Build] = {
    "adadelta": lambda: optax.adadelta(1.0),
    "adafactor": lambda: optax.adafactor(0.02, min_dim_size_to_factor=3),
    "adamw": lambda: optax.adamw(0.02, weight_decay=0.3, mask=_matrices),
    "adaptive_grad_clip": lambda: _before(optax.adaptive_grad_clip(0.01)),
    "add_decayed_weights": lambda: _before(optax.add_decayed_weights(0.1)),
    "add_noise": lambda: _before(optax.add_noise(0.01, 0.5, 0)),
    "apply_every": lambda: _before(optax.apply_every(3)),
    "apply_if_finite": lambda: optax.apply_if_finite(optax.sgd(0.1), 3),
    "centralize": lambda: _before(optax.centralize()),
    "chain": lambda: optax.chain(optax.trace(0.9), optax.scale(-0.01)),
    "clip": lambda: _before(optax.clip(0.01)),
    "clip_by_block_rms": lambda: _before(optax.clip_by_block_rms(0.01)),
    "clip_by_global_norm": lambda: _before(optax.clip_by_global_norm(0.05)),
    "contrib.differentially_private_aggregate": lambda: _before(
        optax.contrib.differentially_private_aggregate(1.0, 0.1, 0)
    ),
    "contrib.dpsgd": lambda: optax.contrib.dpsgd(0.1, 1.0, 0.1, 0),
    "contrib.mechanize": lambda: optax.contrib.mechanize(optax.sgd(0.1)),
    "contrib.normalize": lambda: _before(optax.contrib.normalize()),
    "contrib.reduce_on_plateau": lambda: optax.chain(
        optax.sgd(0.1), optax.contrib.reduce_on_plateau()
    ),
    "contrib.sam": lambda: optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.05)),
    "contrib.scale_by_cocob": lambda: optax.contrib.scale_by_cocob(),
    "contrib.schedule_free": lambda: optax.contrib.schedule_free(optax.sgd(0.1), 0.1),
    "ema": lambda: _before(optax.ema(0.9)),
    "flatten": lambda: optax.flatten(optax.adam(0.02)),
    "freeze": lambda: _before(optax.freeze({"first": True, "last": False})),
    "identity": lambda: _before(optax.identity()),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adamw)(
        learning_rate=optax.cosine_decay_schedule(0.02, 50), weight_decay=0.1
    ),
    "keep_params_nonnegative": lambda: optax.chain(optax.sgd(0.1), optax.keep_params_nonnegative()),
    "lars": lambda: optax.lars(0.5, weight_decay=0.01),
    "lookahead": lambda: optax.lookahead(optax.sgd(0.1), 5, 0.5),
    "masked": lambda: optax.chain(optax.masked(optax.trace(0.9), _matrices), optax.scale(-0.01)),
    "multi_transform": lambda: optax.multi_transform(_KINDS, _kinds),
    "named_chain": lambda: optax.named_chain(("t", optax.trace(0.9)), ("s", optax.scale(-0.01))),
    "noisy_sgd": lambda: optax.noisy_sgd(0.1, key=0),
    "normalize_by_update_norm": lambda: _before(optax.normalize_by_update_norm()),
    "partition": lambda: optax.partition(_KINDS, _kinds),
    "scale": lambda: optax.scale(-0.1),
    "scale_by_backtracking_linesearch": lambda: optax.chain(
        optax.sgd(1.0), optax.scale_by_backtracking_linesearch(5)
    ),
    "scale_by_learning_rate": lambda: optax.scale_by_learning_rate(0.1),
    "scale_by_schedule": lambda: optax.chain(
        optax.scale_by_adam(), optax.scale_by_schedule(lambda t: -0.02 / (1 + 0.1 * t))
    ),
    "scale_by_zoom_linesearch": lambda: optax.chain(
        optax.sgd(1.0), optax.scale_by_zoom_linesearch(5)
    ),
    "selective_transform": lambda: optax.selective_transform(
        optax.sgd(0.1, 0.9), freeze_mask={"first": True, "last": False}
    ),
    "set_to_zero": lambda: _before(optax.set_to_zero()),
    "sgd": lambda: optax.sgd(0.1, 0.9, nesterov=True),
    "trace": lambda: optax.chain(optax.trace(0.9), optax.scale(-0.01)),
    "zero_nans": lambda: _before(optax.zero_nans()),
}
"""Makers that need arguments, or show more with some."""

NO_OPTIMIZERS = {
    "conditionally_mask": "steps on a condition that somebody else writes",
    "conditionally_transform": "steps on a condition that somebody else writes",
    "contrib.hutchinson_estimator_diag_hessian": "an estimate of a diagonal, no step",
    "contrib.split_real_and_imaginary": "of complex weights",
    "inject_stateful_hyperparams": "of schedules that somebody else writes",
    "measure_with_ema": "measures, and leaves the step as it is",
    "snapshot": "measures, and leaves the step as it is",
    "stateless": "is what somebody else writes",
    "stateless_with_tree_map": "is what somebody else writes",
    "with_extra_args_support": "changes a signature, and no step",
}
"""Makers of transformations that are none of optax's own, with the reason."""


def makers() -> dict[str, Callable[..., optax.GradientTransformation]]:
    """Every public function of optax that makes a transformation, by name."""
    found = {}
    for module, prefix in ((optax, ""), (optax.contrib, "contrib.")):
        for name in sorted(dir(module)):
            function = getattr(module, name)
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            returned = str(inspect.signature(function).return_annotation)
            if "GradientTransformation" in returned or name.startswith("scale_by_"):
                found[prefix + name] = function
    return found


def builds() -> dict[str, Build]:
    """How each is made here: with arguments, at a learning rate of 0.02, or as a rescaling before a step of that."""
    found: dict[str, Build] = {}
    for name, maker in makers().items():
        if name in NO_OPTIMIZERS:
            continue
        if name in WITH_ARGUMENTS:
            found[name] = WITH_ARGUMENTS[name]
        elif "learning_rate" in inspect.signature(maker).parameters:
            found[name] = functools.partial(maker, learning_rate=0.02)
        elif name.partition(".")[2].startswith("scale_by_") or name.startswith("scale_by_"):
            found[name] = functools.partial(_rescaled, maker)
        else:
            found[name] = maker
    return found


def _rescaled(
    maker: Callable[[], optax.GradientTransformation],
) -> optax.GradientTransformation:
    return optax.chain(maker(), optax.scale_by_learning_rate(0.02))


def row(name: str, build: Build) -> Row:
    """What is found of one transformation: in double precision, or where its memory is single in that."""
    for precision in ("float64", "float32"):
        with jax.enable_x64(True) if precision == "float64" else nullcontext():
            weights = _parameters(precision)
            try:
                transformation = build()
                optimizer = optimizer_map(loss, transformation, weights)
            except OptimizerError as error:
                refusal = Row(name, runs=False, reason=str(error))
                continue
            difference = compared(transformation, optimizer, weights)
            threshold, reason = first(optimizer, weights)
            return Row(name, True, difference, precision, threshold, reason)
    return refusal


def compared(
    transformation: optax.GradientTransformation, optimizer: OptimizerMap, weights: PyTree
) -> float:
    """Distance of the map from plain optax on the tree after some steps, over the distance moved."""
    layout = Layout.of(weights)

    def plain(carry: PyTree, _: None) -> tuple[PyTree, None]:
        at, memory = carry
        updates, memory = transformation.update(jax.grad(loss)(at), memory, at)
        return (optax.apply_updates(at, updates), memory), None

    start = (weights, transformation.init(weights))
    tree = jax.jit(lambda s: jax.lax.scan(plain, s, length=STEPS)[0][0])(start)
    flat = layout.ravel(weights)
    state = jax.jit(lambda z: jax.lax.scan(lambda z, _: (optimizer(z), None), z, length=STEPS)[0])(
        optimizer.initial(flat)
    )
    expected = layout.ravel(tree)
    moved = float(jnp.linalg.norm(expected - flat))
    off = float(jnp.linalg.norm(state.weights - expected))
    return off / moved if moved else off


def first(optimizer: OptimizerMap, weights: PyTree) -> tuple[str, str]:
    """The first instability of the linearised step, in words, and why there is none."""
    state = optimizer.initial(Layout.of(weights).ravel(weights))
    for _ in range(LOOKED_AT):
        state = optimizer(state)
    try:
        angle = first_instability(optimizer, state).angle
    except OptimizerError as error:
        return "none", str(error)
    if np.isnan(angle):
        return "none", "nothing moves"
    return ("alternates", "") if angle == np.pi else (f"turns by {np.degrees(angle):.0f}°", "")


def page(rows: Iterator[Row]) -> Iterator[str]:
    """The lines of a page, as Markdown."""
    yield "# The transformations of optax"
    yield ""
    yield f"Printed by `python benchmarks/optax_transformations.py` with optax {optax.__version__}: every public"
    yield "maker of a transformation. *Off* is the distance of the map F from plain optax on the tree of parameters"
    yield f"after {STEPS} steps, over the distance moved, in double precision (`*`: in single, which its memory has)."
    yield "The threshold is that of the linearised step: its first unstable mode alternates, which a rod describes, or"
    yield "turns by another angle, where a rod is no model. Without one see the multiplier and secant at amplitude"
    yield "([theory](theory.md)). Arguments are those of the script. Plain MADGRAD takes the"
    yield "root of its step count in single precision, hence its 1e-9."
    yield ""
    yield "| transformation | off | threshold | why none |"
    yield "|---|---|---|---|"
    refused, worst, count = [], {"float64": 0.0, "float32": 0.0}, 0
    for one in rows:
        if not one.runs:
            refused.append(one)
            continue
        count += 1
        worst[one.precision] = max(worst[one.precision], one.difference)
        mark = "" if one.precision == "float64" else " *"
        why = _cell(one.reason)
        yield f"| `{one.name}` | {_number(one.difference)}{mark} | {one.threshold} | {why} |"
    yield ""
    yield f"{count} run; the largest difference is {worst['float64']:.0e}, in single precision {worst['float32']:.0e}."
    yield ""
    yield "## Refused"
    yield ""
    yield "| transformation | why |"
    yield "|---|---|"
    for one in refused:
        yield f"| `{one.name}` | {_cell(one.reason)} |"
    yield ""
    yield "## No optimizers"
    yield ""
    for name, why in NO_OPTIMIZERS.items():
        yield f"- `{name}`: {why}."


def _number(difference: float) -> str:
    return f"{difference:.0e}" if difference else "0"


def _cell(reason: str) -> str:
    """The first part of a reason, in a cell."""
    return reason.split("; ")[0].replace("|", "\\|").replace("\n", " ")


def main(names: list[str]) -> None:
    chosen = {name: build for name, build in builds().items() if not names or name in names}
    for line in page(row(name, build) for name, build in chosen.items()):
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
