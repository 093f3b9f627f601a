"""k-Adam: a column a model, a colour a k, thresholds dashed, and words for what failed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn import assert_drawn, lines, rows_of, words
from rodflow.audit.claims.measures import equilibrium
from rodflow.figures.adam_in_continuous_time import k_adam
from rodflow.figures.core.style import Drawing
from rodflow.store.results import StoredRun
from synthetic_results import STEPS, always_open, make_run

FLOWS = ("stable", "rod_unit_step")


def write(root: Path, k: int, seed: int = 0, model: str = "mlp", **options: Any) -> StoredRun:
    given: dict[str, Any] = {"flows": (), "replicas": None, "replays": {}, "change": always_open}
    chosen = {"b1": 0.9, "b2": 0.99, "k": k}
    return make_run(
        root / f"k={k}", "k_adam", model, seed, hyperparameters=chosen, **given | options
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """Two k on an MLP, one with two seeds and one with flows; one on a CNN that diverged."""
    root = tmp_path_factory.mktemp("k")
    return [
        write(root, 1, flows=FLOWS),
        write(root, 2),
        write(root, 2, seed=1),
        write(root, 2, model="cnn", diverged={"discrete": 133}),
    ]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return k_adam.draw(runs)


@pytest.mark.parametrize(
    ("panel", "quantity"), [(0, "loss[k=1]"), (1, "learning_rate_x_sharpness[k=1]")]
)
def test_what_is_drawn_is_in_the_table(drawing: Drawing, panel: int, quantity: str) -> None:
    (line,) = lines(drawing.figure.axes[panel], quantity)
    assert assert_drawn(line, rows_of(drawing.table, "discrete", quantity)) > 10


def test_there_is_one_column_a_model(drawing: Drawing) -> None:
    assert len(drawing.figure.axes) == 6
    assert {"k-Adam, MLP", "k-Adam, CNN"} <= {*words(drawing)}


def test_every_run_is_a_line_in_the_colour_of_its_k(drawing: Drawing) -> None:
    axes = drawing.figure.axes[0]
    colors = {
        name: [line.get_color() for line in lines(axes, f"loss[{name}]")] for name in ("k=1", "k=2")
    }
    assert len(colors["k=1"]) == 1 and len(colors["k=2"]) == 2
    assert len({*colors["k=2"]}) == 1 and colors["k=1"] != colors["k=2"][:1]


def test_the_threshold_of_each_k_is_dashed(drawing: Drawing, runs: list[StoredRun]) -> None:
    dashed = lines(drawing.figure.axes[1], "threshold")
    assert [line.get_ydata()[0] for line in dashed] == [run.threshold for run in runs[:2]]


def test_learning_rate_times_sharpness_is_drawn(drawing: Drawing, runs: list[StoredRun]) -> None:
    rows = rows_of(drawing.table, "discrete", "learning_rate_x_sharpness[k=1]")
    ratio = (
        runs[0].comparison["sharpness_over_threshold"].sel(process="discrete").dropna("snapshot")
    )
    np.testing.assert_allclose(rows["value"], ratio * runs[0].threshold)


def test_flows_are_told_apart_by_their_lines(drawing: Drawing) -> None:
    axes = drawing.figure.axes[2]
    styles = {
        flow: next(lines(axes, f"{flow} tracking_error[k=1]")).get_linestyle() for flow in FLOWS
    }
    assert len({*styles.values()}) == 2


def test_without_flows_a_column_ends_at_its_sharpness(drawing: Drawing) -> None:
    (_, _, left), (_, sharpness, right) = (
        drawing.figure.axes[:3], drawing.figure.axes[3:],
    )  # fmt: skip
    assert left.axison and left.get_ylabel() and not right.axison
    assert sharpness.get_xlabel() == left.get_xlabel() == "optimizer step"


def test_what_is_held_is_a_multiple_of_the_threshold(
    drawing: Drawing, runs: list[StoredRun]
) -> None:
    level = equilibrium(runs[0]).value
    words_of_one = f"$k$ = 1: {level:.3g} × threshold {runs[0].threshold:.3g}"
    assert words_of_one in words(drawing)


def test_a_diverged_run_is_said_in_words(drawing: Drawing) -> None:
    assert "$k$ = 2: diverged at step 133" in words(drawing)
    steps = rows_of(drawing.table, "discrete", "loss[k=2]")
    assert steps[steps["model"] == "cnn"]["step"].max() <= 133 < STEPS
