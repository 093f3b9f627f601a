"""Toy potentials: thresholds, the two-cycle, the rod on top of the iterates, and the figure of them."""

import numpy as np
import pytest
import xarray as xr

import synthetic_results
from rodflow.figures.core.style import Drawing, Numbers, process_style
from rodflow.figures.rod_flow import toy as figure
from rodflow.stages import toy
from rodflow.store import artifact


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """As the stage stores it, with fewer values."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "OVER_THRESHOLD", np.linspace(0.75, 1.25, 9))
        patch.setattr(toy, "ETA_SHARPNESS", np.array([1.7, 1.9, 1.98, 2.02, 2.2, 2.5, 2.8]))
        path = tmp_path_factory.mktemp("toy") / "toy.nc"
        artifact.write(toy.toy_dataset(), path, kind="toy", settings={}, inputs={})
    return artifact.read(path, kind="toy")


@pytest.fixture(scope="module")
def made_up() -> xr.Dataset:
    return synthetic_results.toy()


@pytest.fixture(scope="module")
def drawing(made_up: xr.Dataset) -> Drawing:
    return figure.draw(made_up)


@pytest.mark.slow
def test_iterates_and_rods_settle_on_the_two_cycle_exactly_above_the_threshold(data) -> None:
    at = data["eta_sharpness"].values
    expected = np.sqrt(np.maximum(1 - 2 / at, 0))
    np.testing.assert_allclose(data["predicted_amplitude"], expected, rtol=1e-14)
    for process in data["process"].values:
        np.testing.assert_allclose(data["amplitude"].sel(process=process), expected, atol=1e-9)
    assert np.all((data["amplitude"] > 1e-3) == (data["eta_sharpness"] > 2))


def test_the_formula_gives_a_two_cycle_of_the_map() -> None:
    sharpness, coefficient, at = 0.7, 3.0, np.array([2.1, 2.6])
    x = toy.two_cycle(at, sharpness, coefficient)
    after = x - at / sharpness * (sharpness * x - coefficient * x**3)
    np.testing.assert_allclose(after, -x, rtol=1e-12)


@pytest.mark.slow
def test_an_oscillation_grows_exactly_above_the_threshold_whatever_follows_it(data) -> None:
    above = data["over_threshold"].values - 1
    signs = np.sign(np.round(data["growth_rate"].values, 9))
    np.testing.assert_array_equal(signs, np.broadcast_to(np.sign(above), signs.shape))
    np.testing.assert_allclose(data["threshold"], [2, 6])


@pytest.mark.slow
def test_growth_of_the_discrete_run_is_the_spectral_radius_of_its_matrix(data) -> None:
    b = toy.OPTIMIZERS["heavy_ball"]["momentum"]
    rates = data["growth_rate"].sel(process="discrete")
    curvatures = data["over_threshold"].values * 2
    np.testing.assert_allclose(rates.sel(optimizer="gd"), np.log(curvatures - 1), atol=1e-12)
    expected = []
    for c in 3 * curvatures:
        matrix = np.array([[1 - (1 - b) * c, -(1 - b) * b], [c, b]])  # on (w, trace)
        expected.append(np.log(np.abs(np.linalg.eigvals(matrix)).max()))
    np.testing.assert_allclose(rates.sel(optimizer="heavy_ball"), expected, atol=2e-3)


@pytest.mark.slow
def test_near_the_threshold_all_rods_grow_like_the_iterates(data) -> None:
    near = data["growth_rate"].sel(optimizer="gd", over_threshold=[0.9375, 1.0625])
    discrete = near.sel(process="discrete")
    for process, within in {"rod": 0.02, "rod_unit_step": 0.01, "closure": 0.15}.items():
        np.testing.assert_allclose(near.sel(process=process), discrete, rtol=within)


@pytest.mark.slow
def test_the_rods_end_on_top_of_the_iterates(data) -> None:
    last = data.isel(step=-1)
    for process in toy.FLOWS:
        here = last.sel(process=process)
        assert abs(float(here["centre"])) < 1e-4
        assert float(here["half_extent"]) == pytest.approx(abs(float(last["iterate"])), rel=1e-3)
    for process in ("rod", "rod_unit_step"):  # and on the way
        here = data.sel(process=process).isel(step=slice(toy.START, None))
        off = np.abs(here["iterate"]) - here["half_extent"]
        assert float(np.abs(off).max()) < 0.02 * float(here["half_extent"].max())
    jumps = np.sign(data["iterate"].values)
    np.testing.assert_array_equal(jumps[1:], -jumps[:-1])


@pytest.mark.slow
def test_everything_is_labelled(data) -> None:
    for name in [*data.data_vars, *data.coords]:
        assert data[name].attrs["long_name"]
        assert data[name].attrs["units"] == "1"
    before = data.sel(process="rod", step=slice(0, toy.START - 1))
    assert bool(before["centre"].isnull().all())


def drawn(drawing: Drawing) -> set[tuple[float, float]]:
    """Every point of a line with a label that is not matplotlib's own."""
    return {
        point
        for axes in drawing.figure.axes
        for line in axes.lines
        for point in zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True)
    }


def test_the_figure_draws_what_its_table_says(drawing, made_up) -> None:
    table = drawing.table
    assert tuple(table.columns) == Numbers.COLUMNS
    assert {*table["model"]} == {"toy"} and {*table["unit"]} == {"1"}
    points = drawn(drawing)
    rates = table[table["quantity"].str.startswith("growth_rate")]
    assert len(rates) == made_up["growth_rate"].size
    for optimizer, axes in zip(["gd", "heavy_ball"], drawing.figure.axes, strict=False):
        for process in made_up["process"].values:
            (line,) = (a for a in axes.lines if a.get_label() == process)
            here = rates[(rates["optimizer"] == optimizer) & (rates["process"] == process)]
            np.testing.assert_array_equal(line.get_ydata(), here["value"])
            np.testing.assert_array_equal(
                line.get_ydata(), made_up["growth_rate"].sel(optimizer=optimizer, process=process)
            )
    steps = table.dropna(subset="step")
    assert {(float(a), b) for a, b in zip(steps["step"], steps["value"], strict=True)} <= points
    amplitudes = table[table["quantity"].str.startswith("amplitude")]
    assert len(amplitudes) == made_up["amplitude"].size + made_up["predicted_amplitude"].size
    at = amplitudes["quantity"].str.extract(r"= ([\d.]+)$")[0].astype(float)
    assert {*zip(at, amplitudes["value"], strict=True)} <= points


@pytest.mark.slow
def test_made_up_toy_problems_have_the_form_of_these(data, made_up) -> None:
    assert {name: made_up[name].dims for name in made_up} == {n: data[n].dims for n in data}
    assert {*made_up.attrs} <= {*data.attrs}


def test_the_figure_names_its_processes_axes_and_thresholds(drawing, made_up) -> None:
    (legend,) = drawing.figure.legends
    names = [process_style(process).label for process in made_up["process"].values]
    assert [text.get_text() for text in legend.get_texts()] == names
    for axes in drawing.figure.axes:
        assert axes.get_xlabel() and axes.get_ylabel() and axes.get_title()
    words = [text.get_text() for axes in drawing.figure.axes for text in axes.texts]
    assert {"threshold 2", "threshold 6", "$t_0$"} <= {*words}
