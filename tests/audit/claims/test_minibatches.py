"""Claims about minibatches: each can hold, fail and be silent."""

from collections.abc import Sequence

import pytest

from minibatch_runs import seeds
from rodflow.audit.claims.claim import Judgement, judge
from rodflow.audit.claims.minibatches import CLAIMS, FIGURE
from rodflow.store.results import StoredRun

LEVELS = {10: 0.6, 30: 0.8, 100: 0.9}
IDS = {claim.id for claim in CLAIMS}


def judged(claim: str, runs: Sequence[StoredRun]) -> Judgement:
    assert claim in IDS
    found = judge([], [one for one in CLAIMS if one.id == claim], drawn={FIGURE: runs})
    return found[0]


@pytest.mark.parametrize(
    ("claim", "optimizer", "good", "bad"),
    [
        ("minibatch-level", "gd", 1.08, 1.12),
        ("minibatch-level", "rmsprop", 0.92, 0.88),
        ("minibatch-level-adam", "adamw", 1.13, 1.17),
        ("minibatch-level-kicked", "rmsprop", 1.08, 1.12),
    ],
)
def test_a_level_is_judged_by_the_worst_batch_size(
    claim: str, optimizer: str, good: float, bad: float
) -> None:
    near = [r for size in (10, 100) for r in seeds(optimizer, size, level=0.6, modelled=0.6 * good)]
    assert judged(claim, near).verdict == "reproduced"
    far = [*near, *seeds(optimizer, 30, level=0.6, modelled=0.6 * bad)]
    found = judged(claim, far)
    assert found.verdict == "not reproduced"
    assert found.findings[0].measured == pytest.approx(abs(bad - 1), abs=0.01)


def test_seeds_are_averaged_before_they_are_compared() -> None:
    """One seed is a sample of the noise."""
    runs = [*seeds(level=0.6, modelled=0.75)[:1], *seeds(level=0.6, modelled=0.57)[1:]]
    assert judged("minibatch-level", runs).verdict == "reproduced"


@pytest.mark.parametrize("claim", ["minibatch-level", "minibatch-order", "minibatch-loss"])
def test_a_model_that_diverges_does_not_reproduce(claim: str) -> None:
    runs = [*seeds(batch=100), *seeds(batch=300, failed="diverged at step 90")]
    assert judged(claim, runs).verdict == "not reproduced"


def test_runs_of_all_images_and_of_other_optimizers_say_nothing_of_the_level() -> None:
    runs = [*seeds(batch=None), *seeds("adam", level=0.6, modelled=0.9)]
    found = judged("minibatch-level", runs)
    assert found.verdict == "not reached"
    notes = {finding.note for finding in found.findings}
    assert notes == {
        "takes all images in every step, so that there is no noise",
        "is about gd, heavy_ball, rmsprop",
    }


def test_the_order_is_that_of_the_run_for_every_optimizer() -> None:
    right = [r for size, level in LEVELS.items() for r in seeds(batch=size, level=level)]
    assert judged("minibatch-order", right).verdict == "reproduced"
    wrong = [
        *seeds("adam", 10, level=0.1, modelled=0.3),
        *seeds("adam", 30, level=0.2, modelled=0.25),
    ]
    found = judged("minibatch-order", [*right, *wrong])
    assert found.findings[0].measured == 1
    assert found.verdict == "not reproduced"


def test_the_loss_is_judged_from_batches_of_fifty_on() -> None:
    small = seeds(batch=30, modelled_loss=0.05)
    assert judged("minibatch-loss", small).verdict == "not reached"
    assert (
        judged("minibatch-loss", [*small, *seeds(batch=100, modelled_loss=0.09)]).verdict
        == "reproduced"
    )
    assert (
        judged("minibatch-loss", seeds(batch=100, modelled_loss=0.08)).verdict == "not reproduced"
    )


def test_a_level_that_drifts_is_not_settled() -> None:
    assert judged("minibatch-settled", seeds()).verdict == "reproduced"
    assert judged("minibatch-settled", seeds(drift=0.5)).verdict == "not reproduced"


@pytest.mark.parametrize(
    ("claim", "optimizer"),
    [("minibatch-batch-sharpness", "gd"), ("minibatch-momentum-small", "heavy_ball")],
)
def test_batch_sharpness_is_judged_in_units_of_two_over_the_rate(
    claim: str, optimizer: str
) -> None:
    """The rate of heavy ball here, 0.1, is that of the average: 2 (1 - b) over the classical one is 2 / 0.1."""
    assert judged(claim, seeds(optimizer, batch_sharpness=21.0)).verdict == "reproduced"
    assert judged(claim, seeds(optimizer, batch_sharpness=38.0)).verdict == "not reproduced"


def test_with_momentum_the_smallest_batch_counts() -> None:
    runs = [*seeds("heavy_ball", 10), *seeds("heavy_ball", 300, batch_sharpness=200.0)]
    assert judged("minibatch-momentum-small", runs).verdict == "reproduced"


def test_the_gap_is_one_to_the_level_of_the_full_batch() -> None:
    full = seeds(batch=None, level=0.96)
    law = [r for size in LEVELS for r in seeds(batch=size, level=0.96 * (1 - 4 / size))]
    found = judged("minibatch-gap", [*law, *full])
    assert found.verdict == "reproduced"
    assert found.findings[0].measured == pytest.approx(-1, abs=0.1)
    root = [r for size in LEVELS for r in seeds(batch=size, level=0.96 * (1 - size**-0.5))]
    assert judged("minibatch-gap", [*root, *full]).verdict == "not reproduced"
    assert judged("minibatch-gap", law).verdict == "not reached"
