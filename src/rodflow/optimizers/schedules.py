"""Learning rates that change in time, as optax has them, by the name that a config gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import optax
from jaxtyping import Array

from rodflow.config.values import Settings
from rodflow.optimizers.table import Entry


def warmup_cosine(peak: float, warmup: int, start: float, end: float, steps: int) -> optax.Schedule:
    """From `start` linearly to the peak, then by a cosine to the end.

    Args:
        peak: the rate at the step `warmup`, above 0.
        warmup: steps in which it rises.
        start: the rate at step 0.
        end: the rate from the step `steps` on.
        steps: of both parts together, more than `warmup`.

    Raises:
        ValueError: of optax, they are not more.
    """
    return optax.warmup_cosine_decay_schedule(start, peak, warmup, steps, end)


def cosine(peak: float, end: float, steps: int) -> optax.Schedule:
    """From the peak by a cosine to the end.

    Args:
        peak: the rate at step 0, above 0.
        end: the rate from the step `steps` on.
        steps: in which it falls, at least 1.

    Raises:
        ValueError: of optax, they are not.
    """
    return optax.cosine_decay_schedule(peak, steps, end / peak)


def linear(peak: float, end: float, steps: int) -> optax.Schedule:
    """From the peak linearly to the end.

    Args:
        peak: the rate at step 0.
        end: the rate from the step `steps` on.
        steps: in which it changes.
    """
    return optax.linear_schedule(peak, end, steps)


def exponential(peak: float, factor: float, steps: int) -> optax.Schedule:
    """From the peak by the same factor in every step, peak * factor^(t / steps) at step t, without an end.

    Args:
        peak: the rate at step 0.
        factor: what is left of it after `steps`.
        steps: in which it falls by the factor.
    """
    return optax.exponential_decay(peak, steps, factor)


def drop(peak: float, factor: float, at: int) -> optax.Schedule:
    """The peak up to a step, and this part of it from there on.

    Args:
        peak: the rate at step 0.
        factor: what is left of it.
        at: the first step of the lower rate; step 0 is the first of all.
    """
    return optax.piecewise_constant_schedule(peak, {at: factor})


def warmup_constant(peak: float, warmup: int, start: float) -> optax.Schedule:
    """From `start` linearly to the peak, which it keeps.

    Args:
        peak: the rate from the step `warmup` on.
        warmup: steps in which it rises.
        start: the rate at step 0.
    """
    return optax.warmup_constant_schedule(start, peak, warmup)


SCHEDULES: Mapping[str, Callable[..., optax.Schedule]] = {
    schedule.__name__: schedule
    for schedule in (warmup_cosine, cosine, linear, exponential, drop, warmup_constant)
}


@dataclass(frozen=True)
class Rate:
    """A learning rate in time, which may be multiplied as one that is a number.

    Attributes:
        of: step count -> rate.
        factor: a number.
    """

    of: Callable[[Array], Array]
    factor: float | Array = 1.0

    def __call__(self, count: Array) -> Array:
        return self.factor * self.of(count)

    def __mul__(self, factor: float | Array) -> "Rate":
        return Rate(self.of, self.factor * factor)

    __rmul__ = __mul__


@dataclass(frozen=True)
class Scheduled:
    """What builds an optimizer under a schedule. Equal for equal ones, as a part of a compiled program must be.

    Attributes:
        build: hyperparameters -> optax transformation.
        name: of the schedule.
        settings: of the schedule, by name.
    """

    build: Callable[..., optax.GradientTransformation]
    name: str
    settings: tuple[tuple[str, float], ...]

    def __call__(self, **hyperparameters: float) -> optax.GradientTransformation:
        rate = Rate(SCHEDULES[self.name](**dict(self.settings)))
        return self.build(learning_rate=rate, **hyperparameters)


def scheduled_entry(known: Entry, rate: Settings) -> Entry:
    """An optimizer of the table under a schedule: its threshold is that of its linearised map at each step.

    Args:
        known: the optimizer.
        rate: what a config says: `schedule`, its name, and its settings.
    """
    settings = dict(rate)
    name = settings.pop("schedule")
    build = Scheduled(known.build, name, tuple(sorted(settings.items())))
    return replace(known, build=build, threshold=None, adaptive=False)
