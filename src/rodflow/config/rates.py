"""The rule by which learning rates are chosen, and the table of what it was applied to.

A config says `learning_rate: by_onset`, and the table `NAME.rates.csv` beside it says at which step the discrete run of
each rate reaches its threshold. `rodflow choose` makes the table; here is what it tries, and what is chosen of it:

* rates lie on a grid of factors of two, see `BASE`;
* chosen are the rates whose onset lies in `WINDOW`, a part of the run's length: the smallest ones, at most `MOST`;
* the onset is that of seed `SEED`, which is never reported.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rodflow.config.messages import ConfigError

SEED = 0
"""The seed of the runs that are looked at."""

BASE = 1e-5
"""Rates are this times a power of two."""

BEGIN = {False: 256 * BASE, True: 8 * BASE}
"""Where the search begins, by whether the optimizer is adaptive: this decides its cost, and not what it finds."""

FURTHEST = 20
"""Doublings or halvings of `BASE` after which no rate is tried any more."""

WINDOW = (0.1, 0.5)
"""The part of a run's length in which a rate that is chosen reaches its threshold."""

MOST = 3
"""Rates that are chosen of one model and optimizer, the smallest first.

At larger ones an adaptive method fits the data in few steps, and its second moment then decays at a pace of its own. So
the onset no longer depends on the rate: it is not the rising sharpness that brings it.
"""

START = 0.05
"""Where the flows start, as a part of the length: half of the earliest onset that counts."""

LOOKS = 50
"""Looks at the sharpness in a whole length. A run ends with the window, as nothing is chosen by what comes later."""

SHORTEST = 20
"""The smallest length in steps."""


class Rate(BaseModel):
    """What was found of one learning rate."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str = Field(description="Name of the model in the config.")
    optimizer: str = Field(description="Name of the optimizer.")
    learning_rate: float = Field(
        description="The rate.", gt=BASE / 2.0 ** (FURTHEST + 1), lt=BASE * 2.0 ** (FURTHEST + 1)
    )
    length: int = Field(description="Steps of a whole run.", ge=SHORTEST)
    onset: float | None = Field(
        description="Step at which sharpness over threshold reaches 1, linearly between two looks; null: it does not "
        "by the end of the window."
    )
    highest: float | None = Field(
        description="The largest sharpness over threshold from the start of the flows to the onset."
    )
    status: str = Field(description="Of the run, which ends with the window.")
    rule: str = Field(description="Digest of all that the onset depends on besides the rate.")

    @field_validator("learning_rate", "onset", "highest", "length", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        if isinstance(value, bool):  # which Python takes for 0 or 1
            raise ValueError("must be a number")
        return value

    @property
    def part(self) -> float | None:
        """The onset as a part of the length."""
        return None if self.onset is None else self.onset / self.length


Rates = Mapping[tuple[str, str], tuple[float, ...]]
"""The rates that are chosen, in ascending order, by the names of model and optimizer."""


def start(length: int) -> int:
    """The step at which the flows of a run of this length start."""
    return round(START * length)


def next_rate(found: Sequence[Rate], begin: float = BASE) -> float | None:
    """The rate to try next, after those of one model and optimizer; None: nothing is left to try.

    It is over once one rate is seen whose onset is too late, one whose onset is too early, and all between; above
    `MOST` that are neither it looks no further, nor beyond the ends of the grid. While all onsets are too late, the
    search goes up by the root of the factor that would take the sharpness over threshold to 1: it is quick far below,
    and does not leap over the window where large rates flatten the path.

    Args:
        found: what is seen, in any order.
        begin: the rate that is tried where nothing is seen, see `BEGIN`.
    """
    seen = {_exponent(rate.learning_rate): rate for rate in found}
    if not seen:
        return begin
    last = max(seen)
    reached = [exponent for exponent, rate in seen.items() if not _late(rate)]
    if not reached:
        highest = max(seen[last].highest or 0.0, 2.0**-FURTHEST)
        step = max(1, math.floor(-math.log2(highest) / 2))
        return _of_grid(last + step)
    lowest = min(reached)
    if lowest - 1 not in seen and lowest > -FURTHEST:
        return _of_grid(lowest - 1)
    exponent = lowest
    while exponent in seen and not _early(seen[exponent]):
        exponent += 1
    ended = exponent in seen or len(choose(found)) == MOST
    return None if ended else _of_grid(exponent)


def choose(found: Sequence[Rate]) -> tuple[float, ...]:
    """The rates of one model and optimizer whose onset lies in the window, in ascending order; at most `MOST`."""
    inside = [rate.learning_rate for rate in found if not _late(rate) and not _early(rate)]
    return tuple(sorted(inside)[:MOST])


def middle(rates: Sequence[float]) -> float:
    """The middle one of the chosen rates, the larger of two."""
    return rates[len(rates) // 2]


def _late(rate: Rate) -> bool:
    if rate.part is None:
        return rate.status == "completed"
    return rate.part > WINDOW[1]


def _early(rate: Rate) -> bool:
    """A run that diverges below its threshold was above it between two looks."""
    if rate.part is None:
        return rate.status != "completed"
    return rate.part < WINDOW[0]


def _exponent(rate: float) -> int:
    return round(math.log2(rate / BASE))


def _of_grid(exponent: int) -> float | None:
    """A rate of the grid in a few digits; None beyond its end."""
    return float(f"{BASE * 2.0**exponent:.12g}") if exponent <= FURTHEST else None


# The table

_COLUMNS = (
    *("model", "optimizer", "learning_rate", "length", "onset", "part", "highest", "status"),
    *("chosen", "rule"),
)


def table_of(config: Path) -> Path:
    """The table beside a config."""
    return config.with_suffix(".rates.csv")


def read(path: Path) -> list[Rate]:
    """The rows of a table.

    Raises:
        ConfigError: it cannot be read, or a row is not as `written` writes it.
    """
    remedy = "delete it and make it again with rodflow choose"
    try:
        rows = [*csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read; {remedy}") from error
    found = []
    for line, row in enumerate(rows, 2):
        kept = {key: row.get(key) or None for key in Rate.model_fields}
        try:
            found.append(Rate.model_validate(kept))
        except ValidationError as error:
            key = error.errors()[0]["loc"][0]
            raise ConfigError(
                f"{path}, line {line}: {key} is {row.get(str(key))!r}; {remedy}"
            ) from error
    return found


def written(found: Sequence[Rate]) -> str:
    """A table of these rows: models and optimizers as they come, of each the rates in ascending order."""
    out = io.StringIO()
    table = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    table.writeheader()
    for place in dict.fromkeys((rate.model, rate.optimizer) for rate in found):
        rows = [rate for rate in found if (rate.model, rate.optimizer) == place]
        chosen = choose(rows)
        for rate in sorted(rows, key=lambda row: row.learning_rate):
            part = "" if rate.part is None else f"{rate.part:.3f}"
            marked = "yes" if rate.learning_rate in chosen else ""
            table.writerow(rate.model_dump() | {"part": part, "chosen": marked})
    return out.getvalue()
