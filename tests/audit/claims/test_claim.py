"""Claims: each can hold, fail and be silent, and none holds for want of evidence."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from made_up import MadeUpRun
from rodflow.audit.claims import few_weights, practice
from rodflow.audit.claims.catalogue import CLAIMS
from rodflow.audit.claims.claim import (
    TARGET,
    Bound,
    Claim,
    Finding,
    Judgement,
    Measured,
    Overall,
    judge,
    share,
)
from rodflow.audit.claims.measures import failed
from rodflow.config.catalogue import OPTIMIZERS as KNOWN
from rodflow.store.results import StoredRun

OPTIMIZERS = (*KNOWN,)[:9]
RUNS = [f"mlp/{optimizer}/seed0" for optimizer in OPTIMIZERS]
PROCESSES = (
    "discrete",
    "stable",
    "rod",
    "rod_unit_step",
    "central",
    "central_unregularised",
    "rod_macro",
)
LIMITS = {"gd": (20, 1000), "rmsprop": (30, 600)}
HYPERPARAMETERS = {
    "gd": {"learning_rate": 0.1},
    "rmsprop_scalar": {"learning_rate": 0.02, "b2": 0.99, "eps": 1e-8},
    "rmsprop": {"learning_rate": 1e-3, "b2": 0.99, "eps": 1e-8},
    "adam": {"learning_rate": 5e-3, "b1": 0.9, "b2": 0.99, "eps": 1e-8},
}
ERRORS = dict(zip(PROCESSES, (np.nan, 8e-2, 4e-4, 1e-4, 2e-3, 3e-3, 4e-4), strict=True))
GOOD = {
    "edge_error": ERRORS,
    "error_last": ERRORS,
    "status": dict.fromkeys(PROCESSES, "completed"),
}
"""Numbers of a run that agree with every claim; `edge_error` is the tracking error from the onset on."""
SERIES = {"loss": 1.01, "rod_length": 0.31}
"""Of the rods: the loss over that of the iterates; when they grow, in lengths of the run."""
CENTRAL = {
    "loss": 1.01,
    "sharpness": 1.0005,
    "wave": 0.0,
    "effective_step": 2.0,
    "step_time": 0.05,
    "squared_gradient": 1.1,
}
"""Of the central flow: its averaged loss over that of the iterates, sharpness over threshold, a wave on its loss, its
effective step size by its second moment (without curvature term: 1.5), seconds a step (discrete run: 0.001), and its
averaged squared gradient over that of the iterates."""


def settings_of(optimizer: str) -> dict:
    start, steps = LIMITS.get(optimizer, (50, 600))
    return {
        "dataset": {"name": "digits", "samples": 1000, "size": 8},
        "batch_size": None,
        "criterion": "mse",
        "model": {"kind": "mlp", "hidden": [32, 32], "activation": "tanh"},
        "optimizer": {"name": optimizer, **HYPERPARAMETERS.get(optimizer, {"learning_rate": 0.1})},
        "seed": 0,
        "snapshots": {"every": 10},
        "start": start,
        "steps": steps,
    }


def make(optimizer: str, changes: dict | None = None, /, **settings) -> MadeUpRun:
    """A run whose numbers agree with every claim, but for changes such as {"late_mean.rod": 2}."""
    chosen = settings_of(optimizer) | settings
    steps = chosen["steps"]
    onset = {process: 0.3 * steps + 10 * ("rod" in process) for process in PROCESSES}
    numbers = {name: dict(row) for name, row in (GOOD | {"onset": onset}).items()}
    for place, value in (changes or {}).items():
        name, process = place.split(".")
        if name in numbers:
            numbers[name][process] = value
    central = {k: (changes or {}).get(f"{k}.central", value) for k, value in CENTRAL.items()}
    snapshots = np.arange(0, steps + 1, steps // 50)
    late = snapshots >= numbers["onset"]["discrete"]
    ratio = np.full((len(PROCESSES), len(snapshots)), 0.8)
    for row, process in enumerate(PROCESSES):
        if process == "discrete" or process.startswith("rod"):
            ratio[row, late] = (changes or {}).get(f"level.{process}", 1.02)
    ratio[PROCESSES.index("central")] = central["sharpness"]
    errors = np.full(ratio.shape, 1e-6)
    for row, process in enumerate(PROCESSES):
        errors[row, late] = numbers["edge_error"][process]
        errors[row, -1] = (changes or {}).get(f"spike.{process}", errors[row, -1])
    comparison = xr.Dataset(
        {
            "sharpness_over_threshold": (("process", "snapshot"), ratio),
            "tracking_error": (("process", "snapshot"), errors),
            "floor_last": ("replica", [1e-4, 3e-4, 4e-4]),
            **{
                name: ("process", list(row.values()))
                for name, row in numbers.items()
                if name != "edge_error"
            },
        },
        {"process": list(PROCESSES), "snapshot": snapshots},
        {"settings": json.dumps(chosen)},
    )
    at = np.arange(steps + 1)
    level, swing = np.exp(-at / steps), 0.3 * (-1.0) ** at
    series = {
        "discrete": {
            "loss": level * (1 + swing),
            "rod_length": 1e-3 + (at > 0.3 * steps),
            "gradient_norm": np.sqrt(level * (1 + swing)),
        }
    }
    for flow in ("rod", "rod_unit_step", "rod_macro"):
        ratio, when = ((changes or {}).get(f"{name}.{flow}", SERIES[name]) for name in SERIES)
        series[flow] = {
            "loss_plus": level * (1 + swing) * ratio,
            "loss_minus": level * (1 - swing) * ratio,
            "rod_length": 1e-3 + (at > when * steps),
        }
    series["central"] = {
        "loss": level * (1 + central["wave"] * (-1.0) ** at),
        "averaged_loss": level * central["loss"],
        "averaged_squared_gradient": level * central["squared_gradient"],
        "oscillation": np.full(at.shape, 0.1),
    }
    series["central_unregularised"] = {}
    series["stable"] = {"loss": level * (changes or {}).get("loss.stable", 0.5)}
    times = {"discrete": 0.001, "central": central["step_time"]}
    data = {
        process: xr.Dataset(
            {name: ("step", v) for name, v in values.items()},
            {"step": at},
            {"step_time_s": times.get(process, 0.01)},
        )
        for process, values in series.items()
    }
    rate = chosen["optimizer"]["learning_rate"]
    for flow, step in (("central", central["effective_step"]), ("central_unregularised", 1.5)):
        moment = ("snapshot", "parameter"), np.full((len(snapshots), 3), (rate / step) ** 2)
        data[flow] = data[flow].assign(second_moment=moment)
    middle = steps // 2
    later = at[middle:] - middle
    error = (changes or {}).get("iterates.error", 0.03) * later / 300
    data["iterates"] = xr.Dataset(
        {"iterate_error": ("step", error)},
        {"step": at[middle:]},
        {"restart": middle, "status": "completed"},
    )
    folder = Path("results/mlp") / optimizer / "seed0"
    return MadeUpRun(folder, data | {"comparison": comparison})


@pytest.fixture(scope="module")
def good() -> list[MadeUpRun]:
    """All nine optimizers on the digits MLP, agreeing with every claim."""
    return [make(optimizer) for optimizer in OPTIMIZERS]


def claim(name: str) -> Claim:
    return next(claim for claim in CLAIMS if claim.id == name)


def judged(name: str, *runs: StoredRun) -> Judgement:
    return judge(runs, [claim(name)])[0]


# Every claim, both ways

ROD_FAILURES = {
    "tracks": lambda flow: {"nesterov": {f"edge_error.{flow}": 0.09}},
    "tracks-at-worst": lambda flow: {"nesterov": {f"spike.{flow}": 0.09}},
    "onset": lambda flow: {name: {f"onset.{flow}": np.nan} for name in ("adam", "nadam")},
    "oscillation": lambda flow: {name: {f"rod_length.{flow}": 0.5} for name in ("adam", "nadam")},
    "loss": lambda flow: {"adam": {f"loss.{flow}": 0.85}},
    "at-floor": lambda flow: {name: {f"error_last.{flow}": 7e-4} for name in ("adam", "nadam")},
    "settles": lambda flow: {"adam": {f"level.{flow}": 0.89}},
}
"""The same for each integrator of the rod flow."""
INTEGRATORS = {"rod-ode": "rod", "rod-unit-step": "rod_unit_step", "rod-macro-step": "rod_macro"}
FAILURES = {
    "threshold-reached": {"nadam": {"onset.discrete": np.nan}},
    "threshold-held-non-adaptive": {"gd": {"level.discrete": 1.12}},
    "threshold-held-adaptive": {"adam": {"level.discrete": 0.89}},
    "threshold-half-the-time": {"adam": {"level.discrete": 0.89}},
    **{
        f"{stem}-{name}": fails(flow)
        for stem, flow in INTEGRATORS.items()
        for name, fails in ROD_FAILURES.items()
    },
    "rod-unit-step-without-momentum": {
        name: {"edge_error.rod_unit_step": 2e-3} for name in ("gd", "rmsprop_scalar")
    },
    "rod-unit-step-adaptive-momentum": {
        name: {"edge_error.rod_unit_step": 1e-2} for name in ("adam", "nadam", "nadam_scalar")
    },
    "rod-unit-step-iterates": {"rmsprop_scalar": {"iterates.error": 0.06}},
    "digits-rod-ode-gd-error": {"gd": {"edge_error.rod": 6e-4}},
    "digits-rod-unit-step-gd-error": {"gd": {"edge_error.rod_unit_step": 2.1e-4}},
    "digits-rod-ode-gd": {"gd": {"edge_error.rod": 1e-3}},
    "digits-rod-ode-rmsprop": {"rmsprop": {"edge_error.rod": 3e-3}},
    "digits-rod-ode-adam": {"adam": {"edge_error.rod": 2e-2}},
    "digits-unit-step-matches-ode": {"nadam": {"edge_error.rod_unit_step": 4.1e-4}},
    "central-tracks": {"rmsprop": {"edge_error.central": 0.09}},
    "central-loss": {"rmsprop_scalar": {"loss.central": 1.2}},
    "central-squared-gradient": {"gd": {"squared_gradient.central": 1.3}},
    "central-loss-falls": {"gd": {"wave.central": 0.1}},
    "central-acceleration": {"rmsprop": {"effective_step.central": 1.4}},
    "digits-central-gd-error": {"gd": {"edge_error.central": 1.2e-2}},
    "digits-central-rmsprop-error": {"rmsprop": {"edge_error.central": 0.11}},
    "digits-central-gd-pinned": {"gd": {"sharpness.central": 1.002}},
    "digits-central-gd-cost": {"gd": {"step_time.central": 0.061}},
}
"""Claim -> optimizer -> numbers that disagree with it."""


def test_every_claim_is_shown_to_hold_and_to_fail_here():
    """But for those of a figure, of the toys and of optimizers of practice, which have tests beside this file."""
    elsewhere = {claim.id for claim in (*few_weights.CLAIMS, *practice.CLAIMS)}
    assert {claim.id for claim in CLAIMS if not claim.figure} - elsewhere == FAILURES.keys()


@pytest.mark.parametrize("name", FAILURES)
def test_claim_holds_on_numbers_that_agree(good, name):
    judgement = judged(name, *good)
    assert judgement.verdict == "reproduced"
    holding = [f for f in judgement.findings if f.verdict == "reproduced"]
    assert holding
    for finding in holding:
        assert {path.split("/", 3)[3] for path in finding.artifacts} == set(claim(name).files)


@pytest.mark.parametrize("name", FAILURES)
def test_claim_fails_on_numbers_that_disagree(good, name):
    changed = {optimizer: make(optimizer, how) for optimizer, how in FAILURES[name].items()}
    runs = [changed.get(run.optimizer, run) for run in good]
    judgement = judged(name, *runs)
    assert judgement.verdict == "not reproduced"
    failing = [f for f in judgement.findings if f.verdict == "not reproduced"]
    if claim(name).overall is None:
        assert {f.subject.split("/")[1] for f in failing} == set(changed)
    else:
        assert len(failing) == 1


@pytest.mark.parametrize("name", FAILURES)
def test_no_claim_holds_without_a_run_that_it_is_about(name):
    assert judged(name).verdict == "not reached"
    run = make("gd", {f"status.{p}": "diverged at step 99" for p in PROCESSES})
    judgement = judged(name, run)
    assert judgement.verdict == "not reached"
    assert [f.subject for f in judgement.findings] == ["mlp/gd/seed0"]
    assert judgement.findings[0].note


@pytest.mark.parametrize("name", FAILURES)
def test_every_run_is_named_by_every_claim(good, name):
    judgement = judged(name, *good)
    named = {run for f in judgement.findings for run in (f.values or [f.subject])}
    assert named == set(RUNS)


def test_a_claim_has_a_source_and_an_id_of_its_own():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    for one in CLAIMS:
        # Where the paper is found: of one only the title is known.
        assert one.source == TARGET or re.search(
            r"arXiv \d{4}\.\d{5}|\(The Road Taken\)", one.source
        )
        assert one.statement.endswith(".") and one.quantity


# What a run says when something went wrong


def test_iterates_of_a_run_below_its_threshold_say_nothing():
    run = make("gd")
    run.made_up["iterates"].attrs["status"] = "not started: below the threshold (0.43 of it)"
    silent = finding("rod-unit-step-iterates", run)
    assert silent.verdict == "not reached" and "0.43" in silent.note


def test_prediction_that_diverges_has_failed():
    run = make("gd")
    cut = run.iterates.isel(step=slice(None, 100)).assign_attrs(status="diverged at step 600")
    run.made_up["iterates"] = cut
    assert finding("rod-unit-step-iterates", run).measured == math.inf


def test_experiment_without_replicas_says_nothing_about_the_floor():
    run = make("gd")
    run.made_up["comparison"] = run.comparison.drop_vars("floor_last")
    silent = judged("rod-ode-at-floor", run).findings[0]
    assert silent.verdict == "not reached" and "no replicas" in silent.note


def finding(name: str, run: StoredRun) -> Finding:
    return judged(name, run).findings[0]


def test_run_that_never_reaches_its_threshold_says_how_far_it_came():
    run = make("gd", {"onset.discrete": np.nan})
    reached = finding("threshold-reached", run)
    assert (reached.verdict, reached.measured) == ("not reproduced", math.inf)
    assert "at most 0.80 of it" in reached.note
    late = finding("threshold-held-non-adaptive", run)
    assert late.verdict == "not reached" and "never reached" in late.note


def test_a_short_stay_at_the_edge_says_nothing_about_the_threshold():
    run = make("gd", {"onset.discrete": 860})
    assert finding("threshold-reached", run).verdict == "not reproduced"
    held = finding("threshold-held-non-adaptive", run)
    assert (held.verdict, held.note) == (
        "not reached",
        "at the edge for 8 snapshots, from step 860 on",
    )


# The rule of the window


def closed(run: MadeUpRun) -> MadeUpRun:
    """The run with one burst, after which its rod is closed."""
    steps = run.series("discrete")["step"]
    burst = np.exp(-0.5 * abs(steps - float(run.comparison["onset"].sel(process="discrete")) - 9))
    run.made_up["discrete"]["rod_length"][:] = burst
    return run


@pytest.mark.parametrize(
    "name",
    ["threshold-held-non-adaptive", "threshold-half-the-time", "rod-ode-loss", "central-loss"],
)
def test_a_run_whose_rod_is_closed_for_most_of_the_window_is_not_at_the_edge(name):
    found = finding(name, closed(make("gd")))
    assert found.verdict == "not at the edge"
    assert found.note.startswith("the rod is closed on 9")
    assert judged(name, closed(make("gd"))).verdict == "not at the edge"


def test_a_run_that_is_not_at_the_edge_leaves_the_verdict_to_the_others():
    runs = closed(make("gd")), make("heavy_ball")
    judgement = judged("threshold-held-non-adaptive", *runs)
    assert judgement.verdict == "reproduced"
    assert [judgement.count(v) for v in ("reproduced", "not at the edge")] == [1, 1]


def test_the_range_stands_beside_the_time_average():
    run = make("gd")
    at = run.comparison["snapshot"].values
    ratio = run.comparison["sharpness_over_threshold"].copy()
    ratio[0] = np.where(at < 300, 0.5, 1 + 0.2 * (-1.0) ** (at // 20))
    run.made_up["comparison"] = run.comparison.assign(sharpness_over_threshold=ratio)
    held = finding("threshold-held-non-adaptive", run)
    assert (held.verdict, held.low, held.high) == ("reproduced", 0.8, 1.2)
    assert held.note == "within 10% for 0% of the steps 301 to 1000"
    assert finding("threshold-half-the-time", run).verdict == "not reproduced"


def test_errors_are_those_after_the_onset():
    run = make("gd")
    errors = run.comparison["tracking_error"].copy()
    errors.loc[{"process": "rod", "snapshot": slice(0, 299)}] = 50.0
    errors.loc[{"process": "rod", "snapshot": 400}] = 3.0
    run.made_up["comparison"] = run.comparison.assign(tracking_error=errors)
    found = finding("rod-ode-tracks", run)
    assert found.measured == pytest.approx(200)
    assert found.note.endswith("rod: median 4.0e-4, largest 3.0, before the onset 50")
    assert finding("rod-ode-tracks-at-worst", run).measured == pytest.approx(0.08 / 3)


# Baselines


def test_the_same_number_of_the_stable_flow_stands_beside_that_of_a_flow():
    found = finding("rod-ode-loss", make("gd"))
    assert (found.measured, found.baselines["stable"]) == pytest.approx((0.01, 0.5), rel=1e-3)
    assert found.passing == ("central",)


def test_a_ratio_to_the_stable_flow_is_one_for_the_stable_flow_itself():
    found = finding("rod-ode-tracks", make("gd"))
    assert (found.baselines["stable"], found.baselines["central"]) == pytest.approx((1, 40))
    assert found.passing == ("central",)


def test_a_claim_that_the_stable_flow_passes_does_not_discriminate():
    run = make("gd", {"loss.stable": 1.0, "loss.central": 1.3})
    judgement = judged("rod-ode-loss", run)
    assert (judgement.verdict, judgement.passing) == ("reproduced", ("stable",))


def test_a_baseline_has_to_pass_in_every_run_for_the_claim_not_to_discriminate():
    runs = make("gd", {"loss.stable": 1.0}), make("heavy_ball")
    judgement = judged("rod-ode-loss", *runs)
    assert [finding.passing for finding in judgement.findings] == [
        ("stable", "central"),
        ("central",),
    ]
    assert judgement.passing == ("central",)


def test_the_baseline_of_a_share_is_a_share(good):
    found = judged("rod-ode-onset", *good).findings[0]
    assert found.measured == 1 and found.baselines["stable"] == 1
    assert "stable" in found.passing


def test_a_baseline_that_diverged_does_not_pass():
    found = finding("rod-ode-loss", make("gd", {"status.stable": "diverged at step 9"}))
    assert found.baselines["stable"] == math.inf and "stable" not in found.passing


def test_claims_of_papers_and_own_targets_are_on_two_lists():
    assert claim("rod-ode-tracks").listed == "paper"
    assert claim("rod-unit-step-tracks").listed == "own target"
    assert {one.listed for one in CLAIMS} == {"paper", "own target"}


@pytest.mark.parametrize("one", [c for c in CLAIMS if c.flow.startswith("rod")], ids=lambda c: c.id)
def test_a_claim_about_the_rod_flow_names_its_integrator(one):
    stem = {flow: stem for stem, flow in INTEGRATORS.items()}[one.flow]
    words = {"rod": "(ODE)", "rod_unit_step": "(unit step)", "rod_macro": "(macro step)"}[one.flow]
    assert stem in one.id or one.id == "digits-unit-step-matches-ode"
    assert words in one.statement


@pytest.mark.parametrize(
    "name",
    [
        "rod-ode-tracks",
        "rod-ode-onset",
        "rod-ode-loss",
        "digits-rod-ode-gd",
        "digits-rod-ode-gd-error",
    ],
)
def test_flow_that_diverges_has_failed(name):
    changes = {"status.rod": "diverged at step 99", "onset.rod": np.nan}
    found = finding(name, make("gd", changes))
    assert found.verdict == "not reproduced"
    note = found.values["mlp/gd/seed0"].note if found.values else found.note
    assert note.startswith("rod flow diverged at step 99")


def test_stable_flow_that_diverges_is_no_success_of_the_rod_flow():
    found = finding("rod-ode-tracks", make("gd", {"status.stable": "diverged at step 9"}))
    assert (found.verdict, found.note) == ("not reached", "stable flow diverged at step 9")


def test_flow_that_the_experiment_lacks_is_not_applicable():
    run = make("gd")
    run.made_up["comparison"] = run.comparison.sel(process=["discrete", "stable"])
    for name in ("rod-ode-tracks", "rod-ode-loss", "digits-unit-step-matches-ode"):
        assert finding(name, run).verdict == "not reached"


def test_onset_before_the_flows_start_predicts_nothing():
    changes = dict.fromkeys(["onset.discrete", "onset.rod"], 20)
    found = finding("rod-ode-onset", make("gd", changes))
    assert (found.verdict, found.note) == (
        "not reached",
        "at its threshold before the flows start",
    )


def test_predicting_an_onset_that_never_comes_is_an_error():
    found = finding("rod-ode-onset", make("gd", {"onset.discrete": np.nan}))
    assert (found.verdict, found.values["mlp/gd/seed0"].value) == ("not reproduced", math.inf)


def test_onset_neither_reached_nor_predicted_is_not_applicable():
    changes = dict.fromkeys(["onset.discrete", "onset.rod"], np.nan)
    assert finding("rod-ode-onset", make("gd", changes)).verdict == "not reached"


def test_oscillation_before_the_flows_start_predicts_nothing():
    run = make("gd")
    run.made_up["discrete"]["rod_length"][:] = np.exp(-np.arange(1001) / 50)
    found = finding("rod-ode-oscillation", run)
    assert (found.verdict, found.note) == ("not reached", "oscillates before the flows start")


def test_oscillation_that_the_flow_lacks_is_an_error():
    run = make("gd")
    run.made_up["rod"]["rod_length"][:] = 1e-9
    found = finding("rod-ode-oscillation", run).values["mlp/gd/seed0"]
    assert (found.value, found.note) == (math.inf, "reached at step 301, not predicted")


def test_files_without_the_variable_say_nothing():
    run = make("gd")
    run.made_up["rod"] = run.made_up["rod"].drop_vars("rod_length")
    found = finding("rod-ode-oscillation", run)
    assert (found.verdict, found.note) == ("not reached", "No variable named 'rod_length'")


def test_one_exact_step_does_not_make_the_loss_exact():
    run = make("gd", {"loss.rod": 2.0})
    for end in ("loss_plus", "loss_minus"):
        run.made_up["rod"][end][800:802] = run.series("discrete")["loss"][800:802].mean()
    found = finding("rod-ode-loss", run)
    assert (found.verdict, found.measured > 0.8) == ("not reproduced", True)


@pytest.mark.parametrize(
    "name",
    [
        "threshold-held-non-adaptive",
        "rod-ode-tracks",
        "digits-rod-ode-gd-error",
        "digits-rod-ode-gd",
    ],
)
def test_nan_agrees_with_nothing(name):
    changes = dict.fromkeys(["edge_error.rod", "level.discrete"], np.nan)
    assert finding(name, make("gd", changes)).verdict != "reproduced"


def test_two_exact_flows_are_not_told_apart():
    changes = dict.fromkeys(["edge_error.rod", "edge_error.stable"], 0.0)
    assert finding("rod-ode-tracks", make("gd", changes)).verdict == "not reproduced"


@pytest.mark.parametrize(
    "change",
    [
        {"criterion": "cross_entropy"},
        {"steps": 900},
        {"dataset": {"name": "digits", "samples": 999, "size": 8}},
        {"model": {"kind": "mlp", "hidden": [32], "activation": "tanh"}},
        {"optimizer": {"name": "gd", "learning_rate": 0.2}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_digits_targets_are_about_their_settings_only(change):
    found = finding("digits-rod-ode-gd", make("gd", **change))
    assert found.verdict == "not reached"
    assert found.note.startswith("is about the tanh MLP 32-32 on 1000 digits")


def test_unsound_run_says_nothing(good):
    for judgement in judge(good[:1], CLAIMS, unsound={"mlp/gd/seed0": "rod.nc: damaged"}):
        assert judgement.verdict == "not reached"
        assert [f.note for f in judgement.findings] == ["rod.nc: damaged"]


# The parts that claims are made of


def test_bound_says_what_it_allows():
    assert str(Bound(0.9, 1.1)) == "0.9 to 1.1" and 0.9 in Bound(0.9, 1.1)
    assert str(Bound(low=1, strict=True)) == "above 1" and 1 not in Bound(low=1, strict=True)
    assert str(Bound(high=2)) == "at most 2" and 2 in Bound(high=2)
    assert math.nan not in Bound()


def test_a_flow_that_diverged_is_no_number_that_agrees_unless_the_claim_is_that_it_does():
    """Infinitely far away stands for it, which would be at least as far as any claim says."""
    assert math.inf not in Bound(low=10)
    assert math.inf in Bound(low=10, infinite=True)
    assert math.inf not in Bound(high=10) and -math.inf not in Bound(high=10)


OWN = Claim(
    id="own",
    source=TARGET,
    statement="Training takes at least 100 steps.",
    quantity="steps",
    measure=lambda run: Measured(run.series("discrete").sizes["step"]),
    allowed=Bound(low=100),
    files=("discrete.nc",),
)


def test_a_number_of_several_runs_that_cannot_be_computed_is_said(good):
    def fails(values, runs):
        raise ZeroDivisionError("no orders")

    finding = judge(good, [replace(OWN, overall=Overall("order", fails))])[0].findings[0]
    assert (finding.verdict, finding.note) == ("not reached", "cannot be measured: no orders")


def test_share_counts_runs_within_the_bound():
    assert share(Bound(high=0.05)).of([0.0, 0.05, 0.1, math.inf], []) == 0.5


def test_new_claim_is_one_entry(good):
    judgement = judge(good, [OWN])[0]
    assert (judgement.verdict, judgement.count("reproduced")) == ("reproduced", 9)


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        ("completed", ""),
        ("completed: unit steps for 3 of 100 steps", ""),
        ("diverged at step 7", "rod_macro flow diverged at step 7"),
    ],
)
def test_a_remark_on_how_a_flow_was_completed_is_no_failure(status, counted):
    assert failed(make("gd", {"status.rod_macro": status}), "rod_macro") == counted
