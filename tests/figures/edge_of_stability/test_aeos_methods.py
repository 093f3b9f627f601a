"""Adaptive methods against the thresholds of their own maps: one panel each, said in words where one stays below."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from drawn import assert_drawn, lines, rows_of, words
from rodflow.audit.claims.measures import equilibrium
from rodflow.figures.core.style import Drawing
from rodflow.figures.edge_of_stability import aeos_methods
from rodflow.store.results import StoredRun
from synthetic_results import STEPS, always_open, make_run


def of_gain(run: StoredRun) -> StoredRun:
    """A run whose sharpness is that in the critical gain, with threshold 2."""
    run.sharpness("discrete").attrs.update(threshold=2.0, preconditioner="critical gain")
    return run


def low(numbers: xr.Dataset) -> xr.Dataset:
    """A comparison of a run at a third of its threshold."""
    for name in ("sharpness_over_threshold", "late_mean", "late_lowest", "late_highest"):
        numbers[name] = numbers[name] / 3
    return numbers.assign(onset=numbers["onset"] * np.nan)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """AMSGrad, which stays low, before Adam, AdamW with two seeds, and a diverged RMSProp."""
    root = tmp_path_factory.mktemp("results")

    def write(name: str, **more: Any) -> StoredRun:
        given = {"flows": (), "replays": {}, "change": always_open} | more
        return make_run(root, name, **given)

    return [
        of_gain(write("amsgrad", compared=low)),
        write("adam", hyperparameters={"b1": 0.9, "b2": 0.99}),
        of_gain(write("adamw", hyperparameters={"weight_decay": 0.01})),
        of_gain(write("adamw", seed=1, hyperparameters={"weight_decay": 0.01})),
        write("rmsprop", diverged={"discrete": 133}),
    ]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return aeos_methods.draw(runs)


def names(drawing: Drawing) -> list[str]:
    """The titles of the panels."""
    return [axes.get_title(loc="left") for axes in drawing.figure.axes]


def test_panels_are_in_the_order_of_the_table_of_optimizers(drawing: Drawing) -> None:
    assert names(drawing) == ["RMSProp", "Adam", "AdamW", "AMSGrad"]


def test_panels_draw_what_the_table_says(drawing: Drawing) -> None:
    drawn = 0
    for axes, optimizer in zip(
        drawing.figure.axes, ("rmsprop", "adam", "adamw", "amsgrad"), strict=True
    ):
        own = drawing.table[drawing.table["optimizer"] == optimizer]
        for seed, line in enumerate(lines(axes, "sharpness_over_threshold")):
            rows = rows_of(own[own["seed"] == seed], "discrete", "sharpness_over_threshold")
            drawn += assert_drawn(line, rows)
    assert drawn == len(drawing.table.dropna(subset="step")) > 0


def test_thresholds_are_written_with_what_they_limit(drawing: Drawing) -> None:
    found = words(drawing)
    assert "threshold of $\\eta S$: 38" in found
    assert found.count("threshold of $S$: 2") == 2
    colors = [next(lines(a, "sharpness_over_threshold")).get_color() for a in drawing.figure.axes]
    assert colors[0] == colors[1] != colors[2] == colors[3]


def test_what_is_held_is_what_the_claim_judges(drawing: Drawing, runs: list[StoredRun]) -> None:
    judged = equilibrium(runs[1])
    text = f"at the edge {judged.value:.2f} ({judged.low:.2f} to {judged.high:.2f})"
    assert text in words(drawing)
    (mark,) = lines(drawing.figure.axes[1], "mean_at_edge")
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (STEPS, judged.value)
    own = drawing.table[drawing.table["optimizer"] == "adam"]
    assert rows_of(own, "discrete", "mean_at_edge")["value"].item() == judged.value


def test_a_run_whose_rod_is_closed_is_said_not_to_be_at_the_edge(tmp_path: Path) -> None:
    drawing = aeos_methods.draw([make_run(tmp_path, "adam", flows=(), replays={})])
    assert "not at the edge" in words(drawing)
    (mark,) = lines(drawing.figure.axes[0], "mean_not_at_edge")
    assert mark.get_markerfacecolor() == "white"


def test_seeds_share_a_panel_and_their_mean_is_written(
    drawing: Drawing, runs: list[StoredRun]
) -> None:
    levels = [equilibrium(run).value for run in runs[2:4]]
    axes = drawing.figure.axes[2]
    assert len([*lines(axes, "sharpness_over_threshold")]) == 2
    start = f"at the edge {np.mean(levels):.2f} ("
    assert any(text.get_text().startswith(start) for text in axes.texts)


def test_a_run_below_its_threshold_says_how_far_it_came(
    drawing: Drawing, runs: list[StoredRun]
) -> None:
    highest = float(runs[0].comparison["sharpness_over_threshold"].max())
    assert f"threshold not reached: at most {highest:.2f}" in words(drawing)


def test_a_diverged_run_is_said_in_words_and_ends_in_a_cross(drawing: Drawing) -> None:
    assert "diverged at step 133" in words(drawing)
    axes = drawing.figure.axes[0]
    assert len([*lines(axes, "discrete diverged")]) == 1
    assert not [*lines(axes, "mean_at_edge")]
