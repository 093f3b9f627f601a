"""The figure of all models side by side: what is drawn is what is tabled, errors and costs are those stored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from drawn import assert_drawn, lines, panels, rows_of, words
from rodflow.config import plan
from rodflow.config.settings import resolve
from rodflow.figures.central_flows import models_compared
from rodflow.figures.core import rows
from rodflow.figures.core.style import Drawing, optimizer_label, process_style
from rodflow.store.results import StoredRun
from synthetic_results import make_run

QUANTITIES = ["loss", "loss_difference", "sharpness_over_threshold", "tracking_error"]
GD = ("stable", "central", "edge", "rod")
ADAPTIVE = ("stable", "central", "central_unregularised", "rod")
COUNTED = {
    "central": {"gradients": 4.0, "hessian_products": 131.0, "third_derivatives": 2.5},
    "edge": {"gradients": 18.0, "hessian_products": 9.0},
    "rod": {"gradients": 10.0},
}
"""Mean counts in a unit of time."""


def counting(process: str, data: xr.Dataset) -> xr.Dataset:
    """A trajectory whose counts go up and down around their means; the central flow's with its averaged loss."""
    around = np.resize([0.5, 1.5, 1.0], data.sizes["step"] // 3 * 3)
    around = np.append(around, np.ones(data.sizes["step"] - around.size))
    counts = COUNTED.get(process, {})
    data = data.assign({name: ("step", mean * around) for name, mean in counts.items()})
    if process == "central":
        data["averaged_loss"] = 1.5 * data["loss"]
    return data


def never_there(comparison: xr.Dataset) -> xr.Dataset:
    """A comparison in which the rod flow never reaches the threshold, and the central flow does 30 steps early."""
    onset = comparison["onset"]
    early = onset.sel(process="discrete") - 30
    onset = onset.where(onset["process"] != "rod")
    return comparison.assign(onset=onset.where(onset["process"] != "central", early))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """Gradient descent; scalar RMSProp with other onsets; RMSProp with a central flow that diverged."""
    root = tmp_path_factory.mktemp("results")
    given: dict[str, Any] = {"change": counting, "replays": {}}
    return [
        make_run(root, flows=GD, **given),
        make_run(root, "rmsprop_scalar", flows=ADAPTIVE, compared=never_there, **given),
        make_run(root, "rmsprop", flows=ADAPTIVE, diverged={"central": 133}, **given),
    ]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return models_compared.draw(runs)


def number(drawing: Drawing, optimizer: str, flow: str, quantity: str) -> float:
    """A number of a flow in the table."""
    found = rows_of(drawing.table, flow, quantity)
    (value,) = found.loc[found["optimizer"] == optimizer, "value"]
    return float(value)


def test_only_models_with_a_central_flow_have_the_figure() -> None:
    config: dict[str, Any] = {
        "name": "two",
        "models": {"mlp": {"kind": "mlp"}, "vit": {"kind": "vit"}},
        "optimizers": {
            "adam": {"learning_rate": 0.1},
            "gd": {"learning_rate": 0.1, "models": {"mlp": {"flows": ["stable", "central"]}}},
        },
        "figures": ["models_compared"],
    }
    (planned,) = plan.figures(resolve(config))
    assert planned.stem == "figures/models_compared_mlp"
    assert planned.drawn_from == ("mlp/gd/seed0",)


def test_every_run_is_a_row_and_every_flow_a_line(drawing: Drawing, runs: list[StoredRun]) -> None:
    drawn = 0
    for run, row in zip(runs, panels(drawing, 4), strict=True):
        own = drawing.table[drawing.table["optimizer"] == run.optimizer]
        for quantity, axes in zip(QUANTITIES, row, strict=True):
            for process in run.processes:
                (line,) = lines(axes, process)
                assert line.get_color() == process_style(process).color
                drawn += assert_drawn(line, rows_of(own, process, quantity))
    assert drawn == len(drawing.table.dropna(subset="step")) > 0


def test_each_process_is_named_once_at_the_top(drawing: Drawing) -> None:
    (legend,) = drawing.figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    expected = {process_style(p).label for p in ("discrete", *GD, *ADAPTIVE)}
    assert {*named} == expected and len(named) == len(expected)


def test_loss_of_the_central_flow_is_the_average_that_it_predicts(runs: list[StoredRun]) -> None:
    drawn = rows.loss(runs[0], "central")
    stored = runs[0].series("central")["averaged_loss"].sel(step=drawn["snapshot"].values)
    np.testing.assert_array_equal(drawn, stored)


def test_errors_are_those_of_the_comparison(drawing: Drawing, runs: list[StoredRun]) -> None:
    for flow in GD:
        for name in ("error_mean", "error_last"):
            stored = runs[0].comparison[name].sel(process=flow).item()
            assert number(drawing, "gd", flow, name) == stored


def test_onset_error_is_that_of_the_flow_less_that_of_the_run(drawing: Drawing) -> None:
    assert number(drawing, "rmsprop_scalar", "central", "onset_error") == -30
    assert number(drawing, "gd", "central", "onset_error") == 0
    assert np.isnan(number(drawing, "rmsprop_scalar", "rod", "onset_error"))
    assert {"\u221230", "0", "never"} <= {*words(drawing)}


def test_costs_are_means_of_what_the_flow_counted(drawing: Drawing) -> None:
    for flow, counts in COUNTED.items():
        for name, mean in counts.items():
            assert number(drawing, "gd", flow, name) == pytest.approx(mean, rel=1e-2)
    assert rows_of(drawing.table, "rod", "hessian_products").empty
    assert rows_of(drawing.table, "stable", "gradients").empty
    assert "\u2013" in words(drawing)


def test_step_times_are_over_that_of_the_run(drawing: Drawing) -> None:
    assert number(drawing, "gd", "rod", "step_time_over_discrete") == pytest.approx(13)
    assert number(drawing, "gd", "central", "step_time_over_discrete") == pytest.approx(0.5)
    assert {"13×", "0.5×"} <= {*words(drawing)}


@pytest.mark.slow
def test_a_step_time_that_was_not_measured_is_a_dash(tmp_path: Path) -> None:
    def unmeasured(process: str, data: xr.Dataset) -> xr.Dataset:
        return data.assign_attrs(step_time_s=np.nan) if process == "central" else data

    drawn = models_compared.draw([make_run(tmp_path, flows=GD, change=unmeasured, replays={})])
    assert rows_of(drawn.table, "central", "step_time_over_discrete").empty
    assert not any("nan" in word for word in words(drawn))


def test_a_flow_that_diverged_says_so_in_place_of_its_errors(drawing: Drawing) -> None:
    assert "diverged at step 133" in words(drawing)
    whole = drawing.table.query("optimizer == 'rmsprop' and process == 'central' and step.isna()")
    assert {*whole["quantity"]} == {*COUNTED["central"], "step_time_over_discrete"}
    for axes in panels(drawing, 4)[2][1:]:  # the first is of the run alone
        (cross,) = lines(axes, "central diverged")
        assert axes.get_ylim()[0] <= cross.get_ydata()[0] <= axes.get_ylim()[1]


def test_words_do_not_overlap(drawing: Drawing) -> None:
    figure = drawing.figure
    figure.draw_without_rendering()
    texts = [text for axes in figure.axes for text in (*axes.texts, axes.title)]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
    boxes += [("key", figure.legends[0].get_window_extent())]
    clashes = [
        (one, other)
        for i, (one, box) in enumerate(boxes)
        for other, beside in boxes[:i]
        if box.overlaps(beside)
    ]
    assert not clashes
    assert {optimizer_label(run) for run in ("gd", "rmsprop_scalar", "rmsprop")} <= {
        *words(drawing)
    }
