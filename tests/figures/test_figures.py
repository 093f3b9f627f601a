"""Figures: what is drawn is what is tabled, the same bytes every time, failures included."""

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from docutils.core import publish_string
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

import synthetic_results
from drawn import assert_drawn, lines, panels, rows_of, words
from representatives import now
from rodflow.config.catalogue import FIGURES
from rodflow.config.code import closure
from rodflow.figures.core.rows import loss
from rodflow.figures.core.style import Drawing, Numbers, optimizer_label, process_style, save
from rodflow.figures.core.style import _spread as spread
from rodflow.figures.rod_flow import tracking
from rodflow.store.results import StoredRun
from synthetic_results import EVERY_FLOW, FLOWS, STEPS

NAMES = list(FIGURES)
OF_RUNS = [name for name, entry in ((n, FIGURES[n]) for n in FIGURES) if not entry.of_no_run]
OF_ONE = ("hyperparameters", "eos_gd", "eos_flow_comparison", "adam_levels")  # optimizer
OF_MANY = [name for name in OF_RUNS if name not in OF_ONE]
SAVED = now(NAMES, "thresholds")
"""Each, but in the quick tests only one, as to render a figure takes seconds."""
DRAWN = now(NAMES, "tracking", "tracking_summary", "hero", "toy")
"""Each; the quick tests draw figures for runs, for a model, for a README and of no run."""
NEEDED = {"closures": "closure", "eos_flow_comparison": "stable"}
"""Figure -> the flow without which the catalogue gives it no run."""
NAMING_PROCESSES = (
    *("tracking", "tracking_summary", "models_compared", "predictability", "rod_anatomy"),
    *("cohen2021", "few_weights", "held_out"),
)
"""Figures whose key has every process that there is."""
CLOSURE = (*FLOWS, "closure")
ROOT = Path(__file__).parents[2]
make_run = partial(synthetic_results.make_run, kernels=True)
write_run = partial(synthetic_results.write_run, kernels=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """Two optimizers, one of them with a stable flow that diverged."""
    root = tmp_path_factory.mktemp("results")
    diverged = {"stable": 133}
    return [
        write_run(root, "gd", flows=CLOSURE),
        write_run(root, "adam", flows=CLOSURE, diverged=diverged),
    ]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """Two optimizers, two models, two seeds."""
    root = tmp_path_factory.mktemp("many")
    chosen = [("gd", "mlp", 0), ("gd", "mlp", 1), ("gd", "cnn", 0), ("rmsprop", "mlp", 0)]
    return [
        write_run(
            root, *run, flows=CLOSURE, settings={"model": {"kind": run[1], "activation": "tanh"}}
        )
        for run in chosen
    ]


def draw(name: str, runs: list[StoredRun]) -> Drawing:
    """A figure of runs; one of no run is of what it needs instead."""
    of_no_run = {"toy": synthetic_results.toy, "adam_region": synthetic_results.adam_region}
    source: Any = runs if name in OF_RUNS else of_no_run[FIGURES[name].needs[0]]()
    return FIGURES.load(name).draw(source)


@pytest.fixture(scope="module")
def drawn(runs: list[StoredRun]) -> Callable[[str], Drawing]:
    """The drawing of the two runs, made once."""
    made: dict[str, Drawing] = {}

    def get(name: str) -> Drawing:
        if name not in made:
            made[name] = draw(name, runs)
        return made[name]

    return get


@pytest.fixture(scope="module")
def saved(
    runs: list[StoredRun], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Drawing, list[Path]]]:
    """The drawing of the first run and its PDF, PNG and CSV, made once."""
    folder = tmp_path_factory.mktemp("saved")
    made: dict[str, tuple[Drawing, list[Path]]] = {}

    def get(name: str) -> tuple[Drawing, list[Path]]:
        if name not in made:
            drawing = draw(name, runs[:1])
            made[name] = drawing, [*save(drawing, folder / name)]
        return made[name]

    return get


@pytest.mark.slow
def test_the_catalogue_imports_no_matplotlib_and_figures_no_jax() -> None:
    code = """
import sys
from rodflow.config.catalogue import FIGURES
from rodflow.config.code import closure
declared = [FIGURES[name] for name in FIGURES]
assert "matplotlib" not in sys.modules
for name in FIGURES:
    FIGURES.load(name)
assert "jax" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_figure_is_named() -> None:
    with pytest.raises(LookupError, match="no figure 'nothing'; there are tracking"):
        FIGURES.load("nothing")


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_has_a_caption_that_names_its_model_and_table(name: str) -> None:
    entry = FIGURES[name]
    part = "" if entry.per in ("experiment", "sweeps") else "vit"
    claim, reading, source = entry.captioned(part, "All runs do.").strip().split("\n\n")
    assert claim.startswith("*Claim*") and claim.endswith("All runs do.")
    assert ("``vit``" in claim + reading) == (entry.per == "model")
    assert f"``{name}{'_' if part else ''}{part}.csv``" in source
    assert not re.search(r"{{|{%|{part}", claim + reading + source)


def test_the_caption_is_stored_beside_the_figure(runs: list[StoredRun], tmp_path: Path) -> None:
    save(draw("thresholds", runs), tmp_path / "it", "Words.\n")
    assert (tmp_path / "it.rst").read_text() == "Words.\n"


@pytest.mark.parametrize("name", NAMES)
def test_every_caption_is_sound_markup(name: str) -> None:
    text = FIGURES[name].captioned("mlp")
    publish_string(text, writer="null", settings_overrides={"halt_level": 1, "report_level": 1})


@pytest.mark.slow
def test_no_figure_draws_another_again() -> None:
    used = {name: {*closure(FIGURES.module(name))} for name in NAMES}
    assert "rodflow.figures.core.forest" in used["tracking_summary"]
    modules = {FIGURES.module(name) for name in NAMES}
    assert not [name for name in NAMES if used[name] & modules != {FIGURES.module(name)}]


@pytest.mark.parametrize("name", SAVED)
def test_rendered_twice_gives_the_same_bytes(
    name: str,
    runs: list[StoredRun],
    saved: Callable[[str], tuple[Drawing, list[Path]]],
    tmp_path: Path,
) -> None:
    first = saved(name)[1]
    fresh = [StoredRun(runs[0].folder)]
    second = save(draw(name, fresh), tmp_path / "b" / name)
    assert [path.suffix for path in first] == [".pdf", ".png", ".csv"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    pdf, png, _ = (path.read_bytes() for path in first)
    assert b"CreationDate" not in pdf
    assert b"tEXt" not in png and len(png) < 2**20
    assert not [*tmp_path.rglob("*.tmp")]


@pytest.mark.parametrize("name", SAVED)
def test_csv_gives_the_table_back_exactly(
    name: str, saved: Callable[[str], tuple[Drawing, list[Path]]]
) -> None:
    drawing, files = saved(name)
    table = pd.read_csv(files[-1], dtype={"step": "Int64", "unit": str})
    assert tuple(table.columns) == Numbers.COLUMNS
    pd.testing.assert_frame_equal(table, drawing.table, check_dtype=False, check_exact=True)
    assert (table["unit"] == "1").all()


@pytest.mark.parametrize("name", DRAWN)
def test_every_point_of_a_line_is_in_the_table(name: str, drawn: Callable[[str], Drawing]) -> None:
    values, checked = drawn(name).table["value"].to_numpy(), 0
    for axes in drawn(name).figure.axes:
        for line in axes.lines:
            label = str(line.get_label())
            helps = label.startswith("_") or label.endswith(" diverged") or label == "jumps"
            if helps or line.get_transform() != axes.transData:  # such as lines across the panel
                continue
            ends = [np.asarray(data, float) for data in (line.get_xdata(), line.get_ydata())]
            assert any(np.isin(data[np.isfinite(data)], values).all() for data in ends), label
            checked += 1
    # The least that a figure of one run draws: eos_gd has two losses and the sharpness, and adam_levels nothing of
    # runs that lack a decay.
    assert checked >= {"eos_gd": 3, "adam_levels": 0}.get(name, 4)


@pytest.mark.slow
def test_settings_of_the_user_change_nothing(
    runs: list[StoredRun], saved: Callable[[str], tuple[Drawing, list[Path]]], tmp_path: Path
) -> None:
    name = "thresholds"
    plain = saved(name)[1][1].read_bytes()
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 30}):
        changed = save(draw(name, runs[:1]), tmp_path / "changed")[1].read_bytes()
    assert plain == changed


def test_tracking_draws_what_its_table_says(
    runs: list[StoredRun], drawn: Callable[[str], Drawing]
) -> None:
    drawing = drawn("tracking")
    table, count = drawing.table, 0
    quantities = ["loss", "loss_difference", "sharpness_over_threshold", "tracking_error"]
    for run, row in zip(runs, panels(drawing, 4), strict=True):
        own = table[table["optimizer"] == run.optimizer]
        for quantity, axes in zip(quantities, row, strict=True):
            for process in run.processes:
                (line,) = lines(axes, process)
                count += assert_drawn(line, rows_of(own, process, quantity))
    assert count == len(table) > 0
    shown = table.groupby("quantity")["process"].agg(set)
    assert shown["tracking_error"] == shown["loss_difference"] == {*CLOSURE}
    assert shown["loss"] == {"discrete"}


def test_the_difference_of_loss_is_relative_to_the_run(runs: list[StoredRun]) -> None:
    found = tracking.loss_difference(runs[0], "rod").dropna("snapshot")
    here, there = (
        loss(runs[0], name).sel(snapshot=found["snapshot"]) for name in ("rod", "discrete")
    )
    np.testing.assert_allclose(found, abs(here - there) / there, rtol=1e-6)


def test_tracking_takes_errors_and_sharpness_from_the_comparison(
    runs: list[StoredRun], drawn: Callable[[str], Drawing]
) -> None:
    table = drawn("tracking").table.query("optimizer == 'gd' and process == 'rod'")
    stored = runs[0].comparison.sel(process="rod")
    for quantity in ("tracking_error", "sharpness_over_threshold"):
        values = stored[quantity].dropna("snapshot")
        here = table[table["quantity"] == quantity]
        np.testing.assert_array_equal(here["step"], values["snapshot"])
        np.testing.assert_array_equal(here["value"], values)


def test_loss_of_iterates_has_no_oscillation(runs: list[StoredRun]) -> None:
    at = runs[0].series("discrete")["loss"]
    averaged = loss(runs[0], "discrete").dropna("snapshot")
    steps = averaged["snapshot"].values
    expected = (at.sel(step=steps - 1).values + at.sel(step=steps + 1).values) / 4
    np.testing.assert_allclose(averaged, expected + at.sel(step=steps).values / 2, rtol=1e-6)
    rod = runs[0].series("rod").sel(step=steps[steps >= 20])
    ends = loss(runs[0], "rod").sel(snapshot=steps[steps >= 20])
    np.testing.assert_allclose(ends, (rod["loss_plus"] + rod["loss_minus"]) / 2, rtol=1e-6)
    np.testing.assert_allclose(averaged.sel(snapshot=ends["snapshot"]), ends, rtol=2e-3)


def test_a_diverged_process_is_marked(drawn: Callable[[str], Drawing]) -> None:
    drawing = drawn("tracking")
    whole, diverged = panels(drawing, 4)
    assert "stable flow diverged at step 133" in words(drawing)
    for axes in diverged[1:]:  # the first is of the run alone
        (cross,) = lines(axes, "stable diverged")
        (curve,) = lines(axes, "stable")
        assert cross.get_marker() == "x"
        assert cross.get_xdata()[0] == curve.get_xdata()[-1] < 133
        low, high = axes.get_ylim()
        assert low <= cross.get_ydata()[0] <= high < 1e3
    assert not any("diverged" in line.get_label() for axes in whole for line in axes.lines)


def test_the_summary_says_what_diverged_instead_of_comparing(
    drawn: Callable[[str], Drawing],
) -> None:
    drawing = drawn("tracking_summary")
    assert {*drawing.table["optimizer"]} == {"gd"}
    assert "stable flow diverged at step 133" in words(drawing)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[int, StoredRun]:
    """Runs by the step at which they diverged, after and before the flows should have started."""
    root = tmp_path_factory.mktemp("ended")
    return {
        step: write_run(root, seed=step, flows=CLOSURE, diverged={"discrete": step})
        for step in (120, 12)
    }


@pytest.mark.slow
@pytest.mark.parametrize("step", [120, 12])
@pytest.mark.parametrize("name", OF_RUNS)
def test_a_diverged_discrete_run_is_named(
    name: str, step: int, ended: dict[int, StoredRun]
) -> None:
    drawing = draw(name, [ended[step]])
    drawing.figure.draw_without_rendering()
    assert f"diverged at step {step}" in " ".join(words(drawing)).replace("\n", " ")


def test_flows_that_never_started_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, flows=CLOSURE, diverged={"discrete": 12})
    assert "rod flow not started" in words(draw("tracking", [run]))


@pytest.mark.slow
@pytest.mark.parametrize("flows", [(), ("stable",), ("rod", "closure")])
def test_flows_may_be_missing_or_new(flows: tuple[str, ...], tmp_path: Path) -> None:
    run = write_run(tmp_path, flows=flows)
    for name in OF_RUNS:
        if name in NEEDED and NEEDED[name] not in flows:
            continue
        drawing = draw(name, [run])
        # The restarted flow of single iterates is there whatever flows the run has.
        more = {"rod_unit_step"} if name == "iterates" else set()
        assert {*drawing.table["process"]} <= {"discrete", *flows} | more
        drawing.figure.draw_without_rendering()


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_MANY)
def test_several_models_and_seeds_are_told_apart(name: str, many: list[StoredRun]) -> None:
    drawing = draw(name, many)
    keys = drawing.table[["model", "optimizer", "seed"]].drop_duplicates()
    # Levels of minibatches are of the runs of one optimizer, its seeds in one mark.
    assert len(keys) == len(many) or name == "minibatch_levels"
    text = "\n".join(words(drawing))
    assert "MLP" in text and "CNN" in text and "RMSProp" in text


def test_thresholds_draws_and_writes_time_average_and_quantiles(tmp_path: Path) -> None:
    """Of a run at the edge filled, of one whose rod is closed open and without numbers."""

    def open_rod(process: str, data: xr.Dataset) -> xr.Dataset:
        return data.assign(rod_length=0 * data["loss"] + 1)

    runs = [make_run(tmp_path, "gd"), make_run(tmp_path, "adam", change=open_rod)]
    drawing = draw("thresholds", runs)
    (axes,) = drawing.figure.axes
    table = drawing.table.set_index(["optimizer", "quantity"])["value"]
    assert table["adam", "threshold"] == pytest.approx(38)
    assert table["gd", "part_with_closed_rod"] > 0.5 and table["adam", "part_with_closed_rod"] == 0
    names = "mean_over_threshold_not_at_the_edge", "mean_over_threshold"
    marks = [*lines(axes, "mean")]
    for mark, bar, run, name in zip(marks, lines(axes, "range"), runs, names, strict=True):
        assert mark.get_xdata()[0] == table[run.optimizer, name]
        ends = [table[run.optimizer, f"{end}_over_threshold"] for end in ("low", "high")]
        np.testing.assert_array_equal(bar.get_xdata(), ends)
        assert f"{table[run.optimizer, 'threshold']:.4g}" in words(drawing)
    assert marks[0].get_markerfacecolor() == "white" != marks[1].get_markerfacecolor()
    assert f"{table['adam', 'mean']:.2g}" in words(drawing)
    assert ("gd", "mean") not in table.index and "not at the edge" in words(drawing)
    assert drawing.shows.endswith("of 1 runs. 1 are not at the edge.")


def test_summary_draws_what_its_table_says(
    runs: list[StoredRun], drawn: Callable[[str], Drawing]
) -> None:
    drawing = drawn("tracking_summary")
    (axes,) = drawing.figure.axes
    stored = runs[0].comparison
    for row in drawing.table.itertuples():
        name = row.quantity.removesuffix("_stable_over_flow")
        (mark,) = lines(axes, f"{row.process} {name}")
        expected = stored[name].sel(process="stable") / stored[name].sel(process=row.process)
        assert mark.get_xdata()[0] == row.value == expected.item() > 1
    assert len(drawing.table) == 6
    assert axes.get_xscale() == "log" and axes.get_xlim()[0] < 1


@pytest.mark.parametrize("name", DRAWN)
def test_labels_and_units_are_there(name: str, drawn: Callable[[str], Drawing]) -> None:
    text, table = "\n".join(words(drawn(name))), drawn(name).table
    assert "[1]" not in text
    assert all(optimizer_label(optimizer) in text for optimizer in table["optimizer"])
    if name in OF_MANY:
        expected = {"gd"} if name in ("tracking_summary", "function_space") else {"gd", "adam"}
        assert {*table["optimizer"]} == expected
    if name == "tracking":
        for process in ("discrete", *CLOSURE):
            assert process_style(process).label in text
        assert "optimizer step" in text and "onset" in text and "$\\eta$ = 0.1" in text


def assert_inside(figure: Figure) -> None:
    """Check that nothing that is written is cut off at the edge of a figure."""
    figure.draw_without_rendering()
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    axes_of = [axes for axes in figure.axes if axes.get_visible()]
    texts = [text for axes in axes_of for text in (*axes.texts, axes.title, axes._left_title)]
    scales = [axes for panel in axes_of if panel.axison for axes in (panel, *panel.child_axes)]
    labels = [axis.label for axes in scales for axis in (axes.xaxis, axes.yaxis)]
    parts = [*texts, *labels, *figure.legends, *legends, *figure.texts]
    boxes = {part: part.get_window_extent() for part in parts}
    for axis in (axis for axes in scales for axis in (axes.xaxis, axes.yaxis)):
        boxes[axis] = axis.get_tightbbox() or Bbox.null()  # with the numbers at ticks
    for part, box in boxes.items():
        if not np.isfinite(box.extents).all():
            continue  # nothing is written there
        assert box.width == 0 or (box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1), part
        assert box.height == 0 or (box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1), part


@pytest.mark.parametrize("name", DRAWN)
def test_text_stays_inside_the_figure(name: str, drawn: Callable[[str], Drawing]) -> None:
    assert_inside(drawn(name).figure)


@pytest.mark.slow
def test_a_key_of_every_flow_stays_inside_the_figure(tmp_path: Path) -> None:
    run = write_run(tmp_path, flows=EVERY_FLOW)
    for name in NAMING_PROCESSES:
        drawing = draw(name, [run])
        keys = [text.get_text() for legend in drawing.figure.legends for text in legend.get_texts()]
        assert len(keys) > 6
        assert_inside(drawing.figure)


def test_steps_are_written_below_rows_that_differ_from_the_next(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name, flows=()) for name in ("gd", "nesterov")]
    drawing = draw("tracking", runs)
    upper, lower = panels(drawing, 4)
    assert upper[0].get_xlim() == lower[0].get_xlim() == (0, STEPS)
    assert not upper[0].xaxis.get_tick_params()["labelbottom"]
    assert lower[0].xaxis.get_tick_params()["labelbottom"]


def test_neighbouring_labels_move_apart_and_keep_their_order() -> None:
    np.testing.assert_allclose(spread(np.array([0.0, 20.0]), 8), [0, 20])
    np.testing.assert_allclose(spread(np.array([10.0, 10.0, 40.0]), 8), [6, 14, 40])
    np.testing.assert_allclose(spread(np.array([0.0, 1.0, 2.0]), 8), [-7, 1, 9])
