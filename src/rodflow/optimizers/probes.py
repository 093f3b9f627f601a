"""What a transformation does at arbitrary states: which leaves of its memory oscillate, and what can be no map.

A step is a function of memory, gradient and weights, so its symmetry can be tested at states that no short run would
reach. Every probe starts from the memory of a first step with its step counts set to c, for counts from 0 to a
million, and takes some steps with random gradients of several sizes. A delayed start, a schedule and an optimizer
that waits for a later step are seen where they act.

*Parity.* Let S change the sign of the weights, the gradient and the oscillating leaves. A leaf is even where a step
from S(z) leaves the same in it as one from z. All leaves are taken for even at first; what is found not to be is
added to the oscillating ones, until F(S(z)) = S(F(z)) in all even leaves. The states are those along the steps above,
and the same with every entry of the memory scaled by itself. What is proven: a leaf that is called oscillating does
depend on the sign. What is not: that a leaf which is even at all these states is even at every other, such as in a
window of counts between two that were tried.

*Counts.* An integer has to advance by one at every count tried, and updates must not depend on its being an integer. A
step that stands out from those a quarter of a count before and after is one of an optimizer that acts each k-th step
only; all counts up to 128 are tried.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from rodflow.optimizers.errors import OptimizerError
from rodflow.optimizers.on_tree import Flat
from rodflow.optimizers.tuned import Memory, Transformation

COUNTS = (0, 2, 7, 19, 50, 120, 400, 1_000, 3_000, 10_000, 100_000, 1_000_000)
"""Step counts at which a probe starts; floats of single precision hold each of them."""
SIZES = (1.0, 1e-3, 30.0)
"""Scales of the gradients."""
CONSECUTIVE = 128
"""Up to this count every single one is tried."""
STEPS = 4
FEW = 16
"""So many weights show all of a transformation that acts weight by weight."""
_CLOSE = 1e-5


compiled = eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 0})  # type: ignore[call-overload]
"""Compiled fast, for what runs once."""


class Journeys(NamedTuple):
    """What mirrored steps from all counts show; a leading axis over starts.

    Attributes:
        even: for each leaf of the memory, whether it came out the same in the mirrored world.
        memory: the memory after the steps.
        weights: and the weights.
    """

    even: Bool[Array, "start leaf"]
    memory: Memory
    weights: Float[Array, "start parameter"]


def float_counts(memory: Memory, dtype: np.dtype) -> Memory:
    """A memory with its numbers in the precision of the weights, integers too, so that all can move continuously.

    Args:
        memory: as a transformation gives it.
        dtype: of the weights.
    """
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), memory)


def noise(weights: Flat, number: int) -> Flat:
    """A gradient without structure, of moderate size, another for every number.

    Args:
        weights: only shape and dtype matter.
        number: from -1 on.
    """
    values = np.random.default_rng(number + 1).standard_normal(weights.shape)
    return jnp.asarray(values, weights.dtype)


def counters(memory: Memory) -> tuple[bool, ...]:
    """For each leaf of a memory as a transformation gives it, whether it is a whole number."""
    return tuple(
        bool(jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.integer))
        for leaf in jax.tree.leaves(memory)
    )


def oscillating_leaves(
    transformation: Transformation, weights: Flat, counts: tuple[bool, ...]
) -> tuple[bool, ...]:
    """For each leaf of the memory whether it follows the gradient's sign; see the head of this module.

    Args:
        transformation: of flat weights.
        weights: only shape and dtype matter.
        counts: which leaves are step counts.
    """
    if not counts:
        return ()
    journeys = _journeys(transformation, weights, counts)
    odd = _not_always(journeys.even)
    while True:
        found = _not_always(_equivariant(transformation, journeys, odd, counts))
        more = tuple(a or b for a, b in zip(odd, found, strict=True))
        if more == odd:
            return odd
        odd = more


def _not_always(even: Bool[Array, "start leaf"]) -> tuple[bool, ...]:
    return tuple(not all(leaf) for leaf in np.asarray(even).T.tolist())


def refuse_what_is_no_count(
    transformation: Transformation, weights: Flat, counts: tuple[bool, ...], names: list[str]
) -> None:
    """Integers must be step counts, which may be floats, and what is done with them must not hang on a single one.

    Args:
        transformation: of flat weights.
        weights: only shape and dtype matter.
        counts: which leaves of the memory are integers.
        names: of all leaves.

    Raises:
        OptimizerError: one of these is not so.
    """
    if not any(counts):
        return
    starts = jnp.asarray([*range(1, CONSECUTIVE + 1), *COUNTS[5:]], weights.dtype)
    seen = jax.device_get(_at_counts(transformation, weights, counts, starts))
    for leaf, advances in enumerate(seen.advances.all(axis=0)):
        if not advances:
            raise OptimizerError(
                f"the transformation keeps an integer that is no step count ({names[leaf]}), which cannot move in "
                f"continuous time"
            )
    # A schedule that ends at zero is off by the rounding of what it began with.
    rounding = 100 * jnp.finfo(weights.dtype).eps * np.maximum.accumulate(seen.size)
    if not (seen.off <= np.maximum(1e-3 * seen.size, rounding)).all():
        raise OptimizerError(
            "the transformation gives other updates when its step count is a floating-point number, so it cannot move "
            "in continuous time"
        )
    if seen.alone.any():
        step = int(starts[int(np.argmax(seen.alone))])
        raise OptimizerError(
            f"the transformation acts at single steps only (at count {step} and not just before or after), so it "
            f"cannot move in continuous time; take one that acts at every step"
        )


def _with_counts(memory: Memory, counts: tuple[bool, ...], count: Array) -> Memory:
    leaves, structure = jax.tree.flatten(memory)
    moved = [leaf + count if c else leaf for leaf, c in zip(leaves, counts, strict=True)]
    return jax.tree.unflatten(structure, moved)


def _same(a: Array, b: Array) -> Bool[Array, ""]:
    return jnp.allclose(a, b, rtol=_CLOSE, atol=0, equal_nan=True)


@compiled
def _journeys(transformation: Transformation, weights: Flat, counts: tuple[bool, ...]) -> Journeys:
    gradients = jnp.stack([noise(weights, step) for step in range(STEPS)])

    def travel(start: Array) -> Journeys:
        count, size = start

        def mirrored(sign: Array) -> tuple[Memory, Memory, Flat]:
            params = sign * noise(weights, -1)
            memory = float_counts(transformation.init(params), weights.dtype)

            def step(
                carry: tuple[Memory, Flat], gradient: Flat
            ) -> tuple[tuple[Memory, Flat], Memory]:
                updates, after = transformation.update(sign * size * gradient, *carry)
                after = float_counts(after, weights.dtype)
                return (after, carry[1] + updates), after

            start = (_with_counts(memory, counts, count), params)
            (memory, params), along = jax.lax.scan(step, start, gradients)
            return along, memory, params

        along, memory, params = jax.lax.map(mirrored, jnp.asarray([1, -1], weights.dtype))
        even = jnp.asarray([_same(leaf[0], leaf[1]) for leaf in jax.tree.leaves(along)], bool)
        return Journeys(even, jax.tree.map(lambda leaf: leaf[0], memory), params[0])

    starts = [(count, size) for size in SIZES for count in COUNTS]
    return jax.lax.map(travel, jnp.asarray(starts, weights.dtype))


@compiled
def _equivariant(
    transformation: Transformation,
    journeys: Journeys,
    odd: tuple[bool, ...],
    counts: tuple[bool, ...],
) -> Bool[Array, "start leaf"]:
    """Which leaves a step leaves the same from a state of scaled entries and from its mirror image."""
    dtype = journeys.weights.dtype
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda leaf: leaf[0], journeys.memory))
    rng = np.random.default_rng(7)
    scales = [
        jnp.asarray(1.0 if c else rng.uniform(0.5, 2, jnp.shape(leaf)), dtype)
        for leaf, c in zip(leaves, counts, strict=True)
    ]

    def compare(start: tuple[Memory, Flat]) -> Bool[Array, " leaf"]:
        memory, weights = start
        gradient = noise(weights, STEPS)

        def after(sign: Array) -> list[Array]:
            moved = [
                (sign if follows else 1) * scale * leaf
                for leaf, scale, follows in zip(jax.tree.leaves(memory), scales, odd, strict=True)
            ]
            mirrored = jax.tree.unflatten(structure, moved)
            _, following = transformation.update(sign * gradient, mirrored, sign * weights)
            return jax.tree.leaves(following)

        both = jax.lax.map(after, jnp.asarray([1, -1], dtype))
        return jnp.asarray([_same(leaf[0], leaf[1]) for leaf in both], bool)

    return jax.lax.map(compare, (journeys.memory, journeys.weights))


class _AtCounts(NamedTuple):
    """Whether each integer advances by one; updates, and how far they are off without integers; which stand out."""

    advances: Bool[Array, "count leaf"]
    size: Float[Array, " count"]
    off: Float[Array, " count"]
    alone: Bool[Array, " count"]


@compiled
def _at_counts(
    transformation: Transformation,
    weights: Flat,
    counts: tuple[bool, ...],
    starts: Float[Array, " count"],
) -> _AtCounts:
    params = noise(weights, -1)
    fresh = transformation.init(params)
    gradient = noise(weights, 0)
    _, begun = transformation.update(gradient, fresh, params)

    def step(count: Array, *, whole: bool) -> tuple[Flat, Memory, Memory]:
        begun_leaves = jax.tree.leaves(begun)
        leaves = [
            (old + count).astype(old.dtype if whole else weights.dtype) if c else leaf
            for old, leaf, c in zip(
                map(jnp.asarray, jax.tree.leaves(fresh)), begun_leaves, counts, strict=True
            )
        ]
        before = jax.tree.unflatten(jax.tree.structure(begun), leaves)
        updates, after = transformation.update(noise(weights, 1), before, params)
        return updates, before, after

    def look(count: Array) -> _AtCounts:
        exact, before, after = step(count, whole=True)
        found, early, late, last, following = jax.lax.map(
            lambda d: step(count + d, whole=False)[0],
            jnp.asarray([0, -0.25, 0.25, -1, 1], weights.dtype),
        )
        leaves = zip(jax.tree.leaves(before), jax.tree.leaves(after), counts, strict=True)
        size = jnp.maximum(jnp.linalg.norm(found), jnp.linalg.norm(last))
        jumps = jnp.linalg.norm(found - early) > 0.5 * size
        return _AtCounts(
            jnp.asarray([a == b + 1 if c else True for b, a, c in leaves], bool),
            jnp.linalg.norm(jnp.nan_to_num(exact)),
            jnp.linalg.norm(jnp.where(jnp.isnan(exact) & jnp.isnan(found), 0, exact - found)),
            _stands_out(found, early, late) | (jumps & _stands_out(found, last, following)),
        )

    return jax.lax.map(look, starts)


def _stands_out(here: Flat, before: Flat, after: Flat) -> Bool[Array, ""]:
    """Whether an update is further from its neighbours than these are from each other, by a fifth of its size."""
    away = jnp.minimum(jnp.linalg.norm(here - before), jnp.linalg.norm(here - after))
    size = jnp.maximum(jnp.linalg.norm(here), jnp.linalg.norm(before))
    return away > jnp.linalg.norm(after - before) + 0.2 * size
