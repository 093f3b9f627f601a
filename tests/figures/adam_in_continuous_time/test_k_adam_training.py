"""k-Adam at its best learning rates: curves of the best, all rates below, and what diverged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex

from drawn import lines, rows_of, words
from rodflow.figures.adam_in_continuous_time import k_adam_training
from rodflow.figures.core.style import Drawing
from rodflow.store.results import StoredRun
from synthetic_results import RunInMemory, make_run

pytestmark = pytest.mark.slow  # many runs to write; tests/figures/test_figures.py draws it quickly

RATES, SEEDS = (0.01, 0.03, 0.1), (1, 2, 3)
LEVELS = {(1, False): 1.0, (2, False): 0.1, (1, True): 0.5}


def write(
    root: Path, k: int, rate: float, seed: int, *, normalised: bool, **options: Any
) -> StoredRun:
    """A run whose loss is lowest at a rate of 0.03, and of k = 2."""
    level = LEVELS[k, normalised] * (1.0 if rate == 0.03 else 2.0) * (1 + 0.1 * seed)

    def scaled(process: str, data: xr.Dataset) -> xr.Dataset:
        return data.assign(loss=data["loss"] * np.float32(level))

    network = {"kind": "mlp", "activation": "tanh"} | (
        {"normalisation": "layer"} if normalised else {}
    )
    chosen = {"b1": 0.9, "b2": 0.99, "k": k}
    return make_run(
        root / f"{k}-{rate}-{normalised}", "k_adam_shared", seed=seed, learning_rate=rate, hyperparameters=chosen,
        settings={"model": network, "criterion": "cross_entropy"}, flows=(), replicas=None, replays={}, change=scaled,
        **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """Three methods on one network; one seed of 2-Adam diverged at the largest rate."""
    root = tmp_path_factory.mktemp("training")
    return [
        write(
            root, k, rate, seed, normalised=normalised,
            diverged={"discrete": 150} if (k, rate, seed) == (2, 0.1, 3) else None,
        )
        for k, normalised in LEVELS
        for rate in RATES
        for seed in SEEDS
    ]  # fmt: skip


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return k_adam_training.draw(runs)


def test_the_curve_of_a_method_is_that_of_its_best_rate(
    drawing: Drawing, runs: list[StoredRun]
) -> None:
    (line,) = lines(drawing.figure.axes[0], "loss[k=2]")
    rows = rows_of(drawing.table, "discrete", "loss[k=2]")
    np.testing.assert_array_equal(line.get_ydata(), rows["value"])
    best = [r for r in runs if r.settings["optimizer"]["k"] == 2][3:6]
    series = np.array([run.series("discrete")["loss"].values[:5].astype(float) for run in best])
    assert rows["value"].iloc[0] == pytest.approx(np.exp(np.log(series.mean(1)).mean()))


def test_the_band_holds_every_seed(drawing: Drawing) -> None:
    ends = [
        rows_of(drawing.table, "discrete", f"loss_{end}[k=1]")["value"]
        for end in ("lowest", "highest")
    ]
    mean = rows_of(drawing.table, "discrete", "loss[k=1]")["value"]
    assert (ends[0].values < mean.values).all() and (mean.values < ends[1].values).all()
    assert ends[1].iloc[0] / ends[0].iloc[0] == pytest.approx(1.3 / 1.1)
    assert len(drawing.figure.axes[0].collections) == len(LEVELS)


def test_normalised_networks_are_dashed_in_the_colour_of_their_k(drawing: Drawing) -> None:
    (plain,), (normalised,), (two,) = (
        lines(drawing.figure.axes[0], f"loss[{name}]") for name in ("k=1", "k=1 normalised", "k=2")
    )
    assert plain.get_color() == normalised.get_color() != two.get_color()
    assert plain.get_linestyle() == "-" != normalised.get_linestyle()


def test_the_last_loss_of_every_rate_is_drawn_and_the_best_is_filled(drawing: Drawing) -> None:
    axes = drawing.figure.axes[1]
    (line,) = lines(axes, "last_loss[k=1]")
    assert len(line.get_xdata()) == len(RATES) and np.argmin(line.get_ydata()) == 1
    marks = [
        one for one in axes.lines if one.get_marker() == "o" and one.get_color() == line.get_color()
    ]
    filled = [one.get_ydata()[0] for one in marks if to_hex(one.get_markerfacecolor()) != "#ffffff"]
    assert min(line.get_ydata()) in filled and len(filled) == 2  # of k = 1 without and with


def test_a_rate_at_which_a_run_diverged_gets_a_cross_instead_of_a_loss(drawing: Drawing) -> None:
    axes = drawing.figure.axes[1]
    (line,) = lines(axes, "last_loss[k=2]")
    assert len(line.get_xdata()) == len(RATES) - 1
    (cross,) = lines(axes, "diverged")
    assert cross.get_ydata()[0] == axes.get_ylim()[1] and cross.get_color() == line.get_color()


def test_test_losses_have_a_row_where_there_is_a_test_set(
    runs: list[StoredRun], drawing: Drawing
) -> None:
    assert len(drawing.figure.axes) == 2
    tested = []
    for run in runs:
        tested.append(RunInMemory(run.folder))
        tested[-1].take("discrete", run.series("discrete"))
        tested[-1].take("comparison", with_test_loss(run.comparison))
    figure = k_adam_training.draw(tested).figure
    assert len(figure.axes) == 3
    (line,) = lines(figure.axes[2], "lowest_test_loss[k=1]")
    np.testing.assert_allclose(line.get_ydata(), 0.5, rtol=1e-6)


def with_test_loss(numbers: xr.Dataset) -> xr.Dataset:
    return numbers.assign(test_loss=numbers["sharpness_over_threshold"] * 0 + 0.5)


def test_a_column_says_what_it_is_of(drawing: Drawing) -> None:
    assert {"MLP, cross-entropy", "k-Adam, shared decays", "full batches"} <= {*words(drawing)}
