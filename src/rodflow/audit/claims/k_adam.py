"""k-Adam: how it trains beside normalisation layers, and where it settles at the edge of stability.

Gould and Tanaka 2024 (arXiv 2411.05746) built it as a stand-in for what normalisation layers do under Adam, so that
Adam with them resembles 2-Adam without. The edge of stability is this project's question.
"""

from collections.abc import Callable, Sequence

import numpy as np

from rodflow.analysis.learning_rates import (
    Method,
    Tuned,
    curve,
    last_loss,
    lowest_test_loss,
    mean_curve,
    method_of,
    tuned,
)
from rodflow.audit.claims.claim import (
    TARGET,
    Bound,
    Claim,
    Measured,
    NotApplicable,
    Overall,
    above,
    at_most,
)
from rodflow.audit.claims.measures import HELD, equilibrium, over, stable_over
from rodflow.config.values import Settings
from rodflow.store.results import DISCRETE, StoredRun

PAPER = "Gould and Tanaka 2024 (arXiv 2411.05746)"

ADAM, NORMALISED_ADAM = Method(1, normalised=False), Method(1, normalised=True)
TWO_ADAM, NORMALISED_TWO_ADAM = Method(2, normalised=False), Method(2, normalised=True)


def _alternates(run: StoredRun) -> bool:
    """Whether the motion that becomes unstable first has period two."""
    given = run.settings["optimizer"]
    alternating = 2 * ((1 + given["b1"]) / (1 - given["b1"])) ** given["k"]
    return run.threshold >= 0.999 * alternating


def held_alternating(run: StoredRun) -> Measured:
    """Time average of sharpness over threshold at the edge, where the motion alternates.

    Raises:
        NotApplicable: as `equilibrium`, or a slow rotation becomes unstable first.
    """
    if not _alternates(run):
        raise NotApplicable("a slow rotation becomes unstable first")
    return equilibrium(run)


def held_rotating(run: StoredRun) -> Measured:
    """The same where a slow rotation becomes unstable before.

    Raises:
        NotApplicable: as `equilibrium`, or the motion alternates.
    """
    if _alternates(run):
        raise NotApplicable("the motion alternates")
    return equilibrium(run)


def _on(
    *kinds: str,
    optimizer: str = "k_adam_shared",
    criterion: str = "cross_entropy",
    tested: bool = False,
) -> Callable[[Settings], str]:
    """Runs on these kinds of network, with this criterion and way to decay, and perhaps a test set."""

    def about(settings: Settings) -> str:
        own = settings["model"]["kind"], settings["optimizer"]["name"], settings["criterion"]
        if tested and not settings["dataset"].get("test"):
            return "is about runs with a test set"
        if own[0] in kinds and own[1:] == (optimizer, criterion):
            return ""
        return f"is about {' and '.join(kinds)}, {optimizer}, {criterion}"

    return about


def _loss_of(
    *methods: Method, judged: Callable[[StoredRun], float] = last_loss
) -> Callable[[StoredRun], Measured]:
    """A loss of runs of these methods, the last training loss or another."""

    def measure(run: StoredRun) -> Measured:
        if method_of(run) not in methods:
            raise NotApplicable("another k, or normalisation")
        rate = run.settings["optimizer"]["learning_rate"]
        return Measured(judged(run), f"learning rate {rate:g}, {run.status(DISCRETE)}")

    return measure


def _worst(
    name: str,
    ratio: Callable[..., float],
    *methods: Method,
    judged: Callable[[StoredRun], float] = last_loss,
) -> Overall:
    """The largest of a number of several methods over the problems that have all of them; NaN if none has."""

    def of(values: Sequence[float], runs: Sequence[StoredRun]) -> float:
        compared = [own for own in tuned(runs, judged) if own.keys() >= {*methods}]
        return max((ratio(*(own[one] for one in methods)) for own in compared), default=np.nan)

    return Overall(f"largest over problems of {name}", of)


def _loss_ratio(above: Tuned, below: Tuned) -> float:
    """Losses at the best rates; below 1 the first is the better."""
    return above.loss(above.best) / below.loss(below.best)


def _distance(one: Tuned, other: Tuned) -> float:
    """Between loss curves at the best rates: the mean over the steps of the logarithm of their ratio, without sign."""
    curves = [mean_curve(curve(own.runs[own.best], _WIDTH)) for own in (one, other)]
    return float(np.abs(np.log(curves[0] / curves[1])).mean())


_WIDTH = 10  # steps over which losses are averaged before curves are compared


def _two_adam_against_adam(
    name: str, source: str, statement: str, about: Callable[[Settings], str]
) -> Claim:
    """That 2-Adam ends no higher than Adam on some runs without normalisation layers."""
    return Claim(
        id=name,
        figure="k_adam_training",
        source=source,
        statement=f"{statement} 2-Adam ends at a training loss no higher than Adam's, each at its best learning rate.",
        quantity="last training loss of a run; overall that of 2-Adam over Adam's",
        measure=_loss_of(ADAM, TWO_ADAM),
        allowed=at_most(1),
        files=("discrete.nc",),
        overall=_worst("2-Adam over Adam", _loss_ratio, TWO_ADAM, ADAM),
        about=about,
    )


CLAIMS: tuple[Claim, ...] = (
    _two_adam_against_adam(
        "two-adam-against-adam",
        PAPER,
        "Rescaling twice pays: on MLP and CNN without normalisation layers, with cross-entropy and shared decays,",
        _on("mlp", "cnn"),
    ),
    Claim(
        id="two-adam-against-normalisation",
        figure="k_adam_training",
        source=PAPER,
        statement=(
            "2-Adam does what normalisation layers do: without them it ends at a training loss no higher than Adam's "
            "with them, each at its best learning rate."
        ),
        quantity="last training loss of a run; overall that of 2-Adam over that of Adam with normalisation",
        measure=_loss_of(TWO_ADAM, NORMALISED_ADAM),
        allowed=at_most(1),
        files=("discrete.nc",),
        overall=_worst(
            "2-Adam over Adam with normalisation", _loss_ratio, TWO_ADAM, NORMALISED_ADAM
        ),
        about=_on("mlp", "cnn"),
    ),
    Claim(
        id="normalised-adam-resembles-two-adam",
        figure="k_adam_training",
        source=PAPER,
        statement=(
            "A normalisation layer is a second rescaling: the loss curve of Adam with it lies nearer to that of 2-Adam "
            "without it than the curve of Adam without it does."
        ),
        quantity=(
            "last training loss of a run; overall the mean distance of logarithms of the losses of Adam with "
            "normalisation and 2-Adam, over that of Adam without and 2-Adam"
        ),
        measure=_loss_of(ADAM, TWO_ADAM, NORMALISED_ADAM),
        allowed=at_most(1),
        files=("discrete.nc",),
        overall=_worst(
            "distance to 2-Adam with over without",
            lambda normalised, plain, two: _distance(normalised, two) / _distance(plain, two),
            NORMALISED_ADAM,
            ADAM,
            TWO_ADAM,
        ),
        about=_on("mlp", "cnn"),
    ),
    Claim(
        id="normalisation-adds-less-to-two-adam",
        figure="k_adam_training",
        source=PAPER,
        statement=(
            "What a normalisation layer does 2-Adam has done already: it lowers the last training loss of Adam by a "
            "larger factor than that of 2-Adam."
        ),
        quantity="last training loss of a run; overall the factor of 2-Adam over the factor of Adam",
        measure=_loss_of(ADAM, NORMALISED_ADAM, TWO_ADAM, NORMALISED_TWO_ADAM),
        allowed=at_most(1),
        files=("discrete.nc",),
        overall=_worst(
            "factor of 2-Adam over Adam's",
            lambda two, normalised_two, one, normalised_one: (
                _loss_ratio(two, normalised_two) / _loss_ratio(one, normalised_one)
            ),
            TWO_ADAM,
            NORMALISED_TWO_ADAM,
            ADAM,
            NORMALISED_ADAM,
        ),
        about=_on("mlp", "cnn"),
    ),
    Claim(
        id="two-adam-test-loss",
        figure="k_adam_training",
        source=PAPER,
        statement=(
            "Rescaling twice pays on images that were not trained on: on MLP and CNN without normalisation layers, "
            "with cross-entropy and shared decays, the lowest test loss of 2-Adam is no higher than Adam's, each at "
            "its best learning rate."
        ),
        quantity="lowest test loss of a run; overall that of 2-Adam over Adam's",
        measure=_loss_of(ADAM, TWO_ADAM, judged=lowest_test_loss),
        allowed=at_most(1),
        overall=_worst("2-Adam over Adam", _loss_ratio, TWO_ADAM, ADAM, judged=lowest_test_loss),
        about=_on("mlp", "cnn", tested=True),
    ),
    _two_adam_against_adam(
        "two-adam-on-transformers",
        TARGET,
        "Also on a vision transformer, whose blocks have layer norm by themselves,",
        _on("vit"),
    ),
    _two_adam_against_adam(
        "two-adam-equal-decays",
        TARGET,
        "Also where each rescaling has the decays of Adam, on MLP and CNN with cross-entropy,",
        _on("mlp", "cnn", optimizer="k_adam"),
    ),
    _two_adam_against_adam(
        "two-adam-squared-error",
        TARGET,
        "Also under squared error, on MLP and CNN with shared decays,",
        _on("mlp", "cnn", criterion="mse"),
    ),
    Claim(
        id="k-adam-alternating",
        figure="k_adam",
        source=TARGET,
        statement=(
            "Where the alternating motion becomes unstable first, k-Adam holds its preconditioned sharpness within "
            "10% of 2 ((1 + b1) / (1 - b1))^k / eta."
        ),
        quantity=HELD,
        measure=held_alternating,
        allowed=Bound(0.9, 1.1),
    ),
    Claim(
        id="k-adam-rotating",
        figure="k_adam",
        source=TARGET,
        statement=(
            "Where a slow rotation becomes unstable first, it holds it within 10% of the threshold of that, which "
            "takes the second moments to be at rest."
        ),
        quantity=HELD,
        measure=held_rotating,
        allowed=Bound(0.9, 1.1),
    ),
    Claim(
        id="k-adam-rod-unit-step",
        figure="k_adam",
        source=TARGET,
        statement=(
            "The rod flow (unit step) of k-Adam, for which no formula was written, is nearer to the run than the "
            "stable flow: from the onset of the threshold on its median tracking error is smaller."
        ),
        quantity=over("stable flow", "rod flow (unit step)"),
        measure=stable_over("rod_unit_step"),
        allowed=above(1),
        flow="rod_unit_step",
        same_of=stable_over,
    ),
)
"""In the order of the report."""
