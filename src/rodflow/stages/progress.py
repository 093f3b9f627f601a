"""How far a job is: a line on standard error every few seconds, with an estimate of the time left."""

import sys
import time

PAUSE = 5.0
"""Seconds between two lines."""


class Clock:
    """Wall time since a piece of work began, and how far it is.

    Args:
        title: what is worked on.
        last: the step at which it ends.
    """

    def __init__(self, title: str, last: int) -> None:
        self.title, self.last = title, last
        self.restart()

    def restart(self, title: str | None = None) -> None:
        """Begin again, perhaps with something else."""
        self.title = title or self.title
        self.began = self.told = time.perf_counter()
        self._first: tuple[int, float] | None = None

    def tell(self, line: str, seconds: float) -> None:
        """Say a line about the piece of work, and count what a killed job spent on it before.

        Args:
            line: how it continues, without the title.
            seconds: wall time that was spent on it before the clock was started, which `elapsed` has from now on.
        """
        self.began -= seconds
        print(f"{self.title}: {line}", file=sys.stderr, flush=True)

    def __call__(self, step: int, loss: float) -> None:
        now = time.perf_counter()
        if self._first is None:  # what came before it is loading and compiling
            self._first = step, now
        if now - self.told > PAUSE or step >= self.last:
            self.told = now
            line = (
                f"{self.title}: step {step} of {self.last}, loss {loss:.6g}, {self.elapsed:.0f} s"
            )
            print(line + self._left(step, now), file=sys.stderr, flush=True)

    def _left(self, step: int, now: float) -> str:
        first, then = self._first or (step, now)
        if not first < step < self.last:
            return ""
        return f", about {words((now - then) / (step - first) * (self.last - step))} left"

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was started."""
        return time.perf_counter() - self.began


def words(seconds: float) -> str:
    """A span of time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
