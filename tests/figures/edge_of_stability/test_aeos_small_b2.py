"""How tightly Adam holds its threshold: a grid of decays and eps, and its late mean against the decay."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes

from drawn import assert_drawn, lines, rows_of, words
from rodflow.audit.claims.measures import edge_of, equilibrium
from rodflow.figures.core.style import Drawing
from rodflow.figures.edge_of_stability import aeos_small_b2
from rodflow.store.results import StoredRun
from synthetic_results import always_open, make_run

DECAYS, EPS = (0.5, 0.9, 0.999), (1e-8, 1e-3)


def write(root: Path, b2: float, eps: float, **more: Any) -> StoredRun:
    """A run of Adam with this decay and eps."""
    given = {"b1": 0.9, "b2": b2, "eps": eps}
    options = {"flows": (), "replays": {}, "hyperparameters": given, "change": always_open} | more
    return make_run(root / f"b2={b2:g},eps={eps:g}", "adam", **options)


def low(numbers: xr.Dataset) -> xr.Dataset:
    """A comparison of a run at a fifth of its threshold."""
    for name in ("sharpness_over_threshold", "late_mean", "late_lowest", "late_highest"):
        numbers[name] = numbers[name] / 5
    return numbers.assign(onset=numbers["onset"] * np.nan)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """Every decay and eps but one; one run stays below its threshold and one diverged."""
    root = tmp_path_factory.mktemp("sweep")
    first = [write(root, b2, EPS[0]) for b2 in DECAYS]
    lost = write(root, 0.5, EPS[1], diverged={"discrete": 133})
    return [*first, lost, write(root, 0.9, EPS[1], compared=low)]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return aeos_small_b2.draw(runs)


def grid(drawing: Drawing) -> np.ndarray:
    """The panels of the grid, [eps, decay]."""
    return np.reshape(np.array(drawing.figure.axes[:-2], object), (len(EPS), len(DECAYS)))


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_there_is_a_column_for_each_decay_and_a_row_for_each_eps(drawing: Drawing) -> None:
    panels = grid(drawing)
    for axes, b2 in zip(panels[0], DECAYS, strict=True):
        assert f"$\\beta_2$ = {b2:g}" in [text.get_text() for text in axes.texts]
    names = [axes.get_ylabel().split("\n")[0] for axes in panels[:, 0]]
    assert names == ["$\\epsilon$ = 1e-8", "$\\epsilon$ = 0.001"]


def test_panels_draw_what_the_table_says(drawing: Drawing) -> None:
    drawn = 0
    for row, eps in zip(grid(drawing), ("1e-8", "0.001"), strict=True):
        for axes, b2 in zip(row, DECAYS, strict=True):
            name = f"sharpness_over_threshold[b2={b2:g} eps={eps}]"
            for line in lines(axes, name):
                drawn += assert_drawn(line, rows_of(drawing.table, "discrete", name))
    assert drawn == len(drawing.table.dropna(subset="step")) > 0


def test_deviation_is_that_at_the_edge_and_is_written(
    drawing: Drawing, runs: list[StoredRun]
) -> None:
    ratio = runs[0].comparison["sharpness_over_threshold"].sel(process="discrete")
    expected = float(np.std(ratio.sel(snapshot=slice(edge_of(runs[0]).first, None))))
    assert aeos_small_b2.deviation(runs[0]) == pytest.approx(expected)
    assert f"s.d. {expected:.3f}" in texts(grid(drawing)[0, 0]) or expected < 0.01
    (value,) = rows_of(drawing.table, "discrete", "standard_deviation_at_edge[b2=0.5 eps=1e-8]")[
        "value"
    ]
    assert value == aeos_small_b2.deviation(runs[0])


def test_summary_has_mean_and_quantiles_that_the_claim_judges(
    drawing: Drawing, runs: list[StoredRun]
) -> None:
    mean = drawing.figure.axes[-2]
    judged = [equilibrium(run) for run in runs[:3]]
    marks = [float(line.get_ydata()[0]) for line in lines(mean, "mean_at_edge")]
    assert marks == [one.value for one in judged]
    ends = [tuple(line.get_ydata()) for line in lines(mean, "range")]
    assert ends == [(one.low, one.high) for one in judged]


def test_a_run_below_its_threshold_is_said_in_words_and_has_no_mark(drawing: Drawing) -> None:
    assert len([*lines(drawing.figure.axes[-1], "standard_deviation_at_edge")]) == len(DECAYS)
    assert "threshold not reached" in texts(grid(drawing)[1, 1])


def test_a_run_whose_rod_is_closed_has_an_open_mark_and_no_deviation(tmp_path: Path) -> None:
    closed = write(tmp_path, 0.9, 1e-3, change=lambda process, data: data)
    drawing = aeos_small_b2.draw([closed])
    panel, mean, _ = drawing.figure.axes
    (mark,) = lines(mean, "mean_not_at_edge")
    assert mark.get_markerfacecolor() == "white"
    assert "not at the edge" in texts(panel)
    assert not drawing.table["quantity"].str.startswith("standard_deviation").any()


def test_words_of_a_run_below_its_threshold_stand_clear_of_its_curve(tmp_path: Path) -> None:
    drawing = aeos_small_b2.draw([write(tmp_path, 0.9, 1e-3, compared=low)])
    drawing.figure.draw_without_rendering()
    panel = drawing.figure.axes[0]
    (curve,) = lines(panel, "sharpness_over_threshold[b2=0.9 eps=0.001]")
    (text,) = (one for one in panel.texts if one.get_text() == "threshold not reached")
    heights = panel.transData.transform(np.transpose(curve.get_data()))[:, 1]
    assert text.get_window_extent().y0 > heights.max()


def test_a_diverged_run_is_said_in_words_and_has_no_numbers(drawing: Drawing) -> None:
    axes = grid(drawing)[1, 0]
    assert "diverged at step 133" in texts(axes)
    assert not [text for text in texts(axes) if text.startswith("s.d.")]
    assert len([*lines(axes, "discrete diverged")]) == 1


def test_a_missing_run_is_said(drawing: Drawing) -> None:
    assert texts(grid(drawing)[1, 2]) == ["no run"]


def test_without_any_run_at_the_threshold_the_summary_says_so(tmp_path: Path) -> None:
    drawing = aeos_small_b2.draw([write(tmp_path, 0.9, 1e-3, compared=low)])
    assert "no run stayed at the threshold" in words(drawing)


def test_seeds_are_told_apart_in_the_table_and_share_a_panel(tmp_path: Path) -> None:
    drawing = aeos_small_b2.draw([write(tmp_path, 0.9, 1e-3, seed=seed) for seed in (0, 1)])
    panel, mean, _ = drawing.figure.axes
    assert len([*lines(panel, "sharpness_over_threshold[b2=0.9 eps=0.001]")]) == 2
    assert len([*lines(mean, "mean_at_edge")]) == 2
    assert {*drawing.table["seed"]} == {0, 1}
