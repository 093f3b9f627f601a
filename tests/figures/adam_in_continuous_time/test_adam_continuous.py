"""Adam in continuous time: a row a series, the order of convergence, and what is seen at the edge of stability."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from drawn import lines, rows_of, words
from rodflow.analysis.convergence import order
from rodflow.figures.adam_in_continuous_time import adam_continuous
from rodflow.figures.adam_in_continuous_time.adam_continuous import FLOW, chosen
from rodflow.figures.core.style import Drawing
from rodflow.store.results import StoredRun
from synthetic_results import make_run

RATES = (8e-4, 4e-4, 2e-4)
HYPERPARAMETERS = {"b1": 0.9, "b2": 0.999}


def write(root: Path, sweep: str, rate: float, **options: Any) -> StoredRun:
    folder = root / "sweeps" / sweep / f"learning_rate={rate:g}"
    given: dict[str, Any] = {"flows": (FLOW,), "replicas": None, "replays": {}}
    given |= {"hyperparameters": HYPERPARAMETERS}
    return make_run(folder, "adam", learning_rate=rate, **given | options)


def nearer(rate: float) -> dict[str, Any]:
    """Below its threshold, with a flow whose distance is proportional to the learning rate."""

    def compared(data: xr.Dataset) -> xr.Dataset:
        error = data["tracking_error"].copy()
        error.loc[FLOW] = error.loc[FLOW] * 0 + 40 * rate
        return data.assign(tracking_error=error, onset=data["onset"] * np.nan)

    return {"compared": compared}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """A series below the edge of stability, and a run that reaches it with a flow that diverges."""
    root = tmp_path_factory.mktemp("adam")
    below = [write(root, "decays", rate, **nearer(rate)) for rate in RATES]
    return [*below, write(root, "edge", 4e-4, diverged={FLOW: 133})]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return adam_continuous.draw(runs)


def test_there_is_a_row_of_four_panels_a_series_in_the_colours_of_the_rates(
    drawing: Drawing,
) -> None:
    assert len(drawing.figure.axes) == 8
    colors = [
        [line.get_color() for line in lines(axes, f"{FLOW} loss")] for axes in panel(drawing, 1)
    ]
    assert len({*colors[0]}) == 3 and colors[1] == colors[0][1:2]


def panel(drawing: Drawing, place: int) -> list[Any]:
    """One panel of each row."""
    return drawing.figure.axes[place::4]


@pytest.mark.parametrize(
    ("place", "process", "quantity"),
    [(0, FLOW, "weight_worst"), (1, "discrete", "loss"), (2, FLOW, "tracking_error")],
)
def test_what_is_drawn_against_time_is_in_the_table(
    drawing: Drawing, place: int, process: str, quantity: str
) -> None:
    drawn = [*lines(panel(drawing, place)[0], f"{process} {quantity}")]
    for line, rate in zip(drawn, RATES, strict=True):
        rows = rows_of(drawing.table, process, f"{quantity}[decays: learning_rate={rate:g}]")
        np.testing.assert_array_equal(line.get_ydata(), rows["value"])
        np.testing.assert_allclose(line.get_xdata(), rate * rows["step"].astype(float))
        assert len(rows) > 5


def test_the_slope_is_that_of_the_last_distances(drawing: Drawing) -> None:
    axes = panel(drawing, 3)[0]
    points = [line.get_xydata()[0] for line in lines(axes, "last_tracking_error")]
    assert order(*zip(*points, strict=True)) == pytest.approx(1, abs=1e-9)
    assert "slope 1.00" in [text.get_text() for text in axes.texts]
    rows = rows_of(drawing.table, FLOW, "order[decays: learning_rate=0.0008]")
    assert rows["value"].item() == pytest.approx(1, abs=1e-9)


def test_at_the_edge_of_stability_the_sharpness_takes_the_place_of_the_order(
    drawing: Drawing, runs: list[StoredRun]
) -> None:
    axes = panel(drawing, 3)[1]
    assert axes.get_title() == "sharpness / threshold"
    (line,) = lines(axes, f"{FLOW} sharpness_over_threshold")
    stored = runs[-1].comparison["sharpness_over_threshold"].sel(process=FLOW).dropna("snapshot")
    np.testing.assert_array_equal(line.get_ydata(), stored)
    assert not [*lines(axes, "fit")]
    assert len([*lines(panel(drawing, 2)[1], "onset")]) == 1
    assert "continuous diverged at step 133" in words(drawing)


@pytest.mark.slow
def test_memories_that_are_fixed_in_time_are_named(tmp_path: Path) -> None:
    """With b / (1 - b) twice as large at half the learning rate."""
    runs = [
        write(tmp_path, "memories", rate, hyperparameters={"b1": b, "b2": 0.999}, **nearer(rate))
        for rate, b in ((8e-4, 9 / 10), (4e-4, 18 / 19))
    ]
    (text,) = [word for word in words(adam_continuous.draw(runs)) if "fixed" in word]
    assert text == "$\\eta\\tau_1$ = 0.0072 fixed, $\\beta_2$ = 0.999"


def test_weights_are_chosen_by_how_they_move() -> None:
    """Displacements 0, 1, 2, 3 and one that comes back; at the second one the flow is off."""
    at = np.array([[0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 3.0, 9.0], [0.0, 1.0, 2.0, 3.0, 2.5]])
    flow = at + np.array([0.0, 0.5, 0.1, 0.0, 0.0])
    assert chosen(at, flow) == {"median": 4, "turns": 4, "worst": 1}
    assert chosen(0 * at, flow) == {}
