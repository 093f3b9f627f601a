"""k-Adam at the edge of stability: Gould and Tanaka 2024 built it, where it settles is this project's question."""

from rodflow.claims.claim import Bound, Claim, Measured, NotApplicable, above
from rodflow.claims.measures import equilibrium, stable_over
from rodflow.results import StoredRun


def _alternates(run: StoredRun) -> bool:
    """Whether the motion that becomes unstable first has period two."""
    given = run.settings["optimizer"]
    alternating = 2 * ((1 + given["b1"]) / (1 - given["b1"])) ** given["k"]
    return run.threshold >= 0.999 * alternating


def held_alternating(run: StoredRun) -> Measured:
    """Time average of sharpness over threshold in the last quarter, where the motion alternates."""
    if not _alternates(run):
        raise NotApplicable("a slow rotation becomes unstable first")
    return equilibrium(run)


def held_rotating(run: StoredRun) -> Measured:
    """The same where a slow rotation becomes unstable before."""
    if _alternates(run):
        raise NotApplicable("the motion alternates")
    return equilibrium(run)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="k-adam-alternating",
        figure="k_adam",
        source="target",
        statement=(
            "Where the alternating motion becomes unstable first, k-Adam holds its preconditioned sharpness within "
            "10% of 2 ((1 + b1) / (1 - b1))^k / eta."
        ),
        quantity="time average of sharpness over threshold in the last quarter",
        measure=held_alternating,
        allowed=Bound(0.9, 1.1),
    ),
    Claim(
        id="k-adam-rotating",
        figure="k_adam",
        source="target",
        statement=(
            "Where a slow rotation becomes unstable first, it holds it within 10% of the threshold of that, which "
            "takes the second moments to be at rest."
        ),
        quantity="time average of sharpness over threshold in the last quarter",
        measure=held_rotating,
        allowed=Bound(0.9, 1.1),
    ),
    Claim(
        id="k-adam-rod",
        figure="k_adam",
        source="target",
        statement=(
            "The rod flow of k-Adam, for which no formula was written, ends nearer to the run than the stable flow."
        ),
        quantity="last tracking error of the stable flow over that of the rod flow in unit steps",
        measure=stable_over("rod_unit_step"),
        allowed=above(1),
    ),
)
"""In the order of the report."""
