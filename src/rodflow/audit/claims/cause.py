"""Why a claim is not reproduced: what a module of claims says of it beside the claim, and `docs/claims.md` shows."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["size", "seed", "setting", "paper", "target", "unknown"]
"""What is the likeliest cause.

The size of network or data, the seed, another setting of the run (its length among them), the claim itself as a paper
has it or as this project set it, or nothing that is known.
"""


class Cause(NamedTuple):
    """The likeliest cause that an experiment does not reproduce a claim.

    Attributes:
        kind: which it is.
        why: what speaks for it, in a sentence or two.
        run: the run that tells, as its folder in the results; "" where all of them do.
    """

    kind: Kind
    why: str
    run: str = ""

    def __str__(self) -> str:
        where = f" ({self.run})" if self.run else ""
        return f"{self.kind}{where}: {self.why}"


Causes = Mapping[str, Mapping[str, Cause]]
"""Claim -> experiment -> its cause there."""

UNKNOWN = Cause("unknown", "not looked into yet.")
