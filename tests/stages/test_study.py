"""A study of a problem of one's own: what comes out is that of the pieces, by the user's names, and can be taken up."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import rodflow
from rodflow.errors import RodflowError

X = np.random.default_rng(0).standard_normal((12, 2)).astype(np.float32)
START = {
    "in": np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32),
    "out": np.random.default_rng(2).standard_normal(4).astype(np.float32),
}


def loss(params, x):
    return jnp.mean((jnp.tanh(x @ params["in"]) @ params["out"] - jnp.sin(x[:, 0])) ** 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def study(folder):
    return make(folder)


def make(folder):
    return rodflow.study(
        loss,
        START,
        optax.sgd(0.1),
        data=X,
        steps=24,
        start=4,
        every=5,
        folder=folder,
        progress=False,
    )


def short(optimizer, folder, **how):
    """A study of twelve steps, with the rod flow in unit steps unless it is told of others."""
    told = {"flows": ("rod_unit_step",), **how}
    return rodflow.study(
        loss, START, optimizer, data=X, steps=12, folder=folder, progress=False, **told
    )


def test_the_run_is_plain_optax_on_the_tree(study) -> None:
    sgd, params = optax.sgd(0.1), {k: jnp.asarray(v) for k, v in START.items()}
    state, iterates = sgd.init(params), [params]
    for _ in range(25):
        gradient = jax.grad(loss)(params, X)
        updates, state = sgd.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        iterates.append(params)
    found = study.weights()
    at = int(found["snapshot"][-1])
    for name in START:
        middle = (iterates[at - 1][name] + 2 * iterates[at][name] + iterates[at + 1][name]) / 4
        np.testing.assert_allclose(found[name].sel(snapshot=at), middle, rtol=1e-5, atol=1e-6)


def test_weights_come_back_as_the_tree(study) -> None:
    tree = study.tree(19)
    assert {name: leaf.shape for name, leaf in tree.items()} == {"in": (2, 4), "out": (4,)}
    np.testing.assert_array_equal(tree["in"], study.weights()["in"].sel(snapshot=19))


def test_the_sharpness_is_the_largest_eigenvalue_of_the_hessian_over_its_threshold(study) -> None:
    flat, unravel = ravel_pytree(study.tree(19))
    hessian = jax.hessian(lambda w: loss(unravel(w), X))(flat)
    expected = np.linalg.eigvalsh(np.asarray(hessian, np.float64))[-1] * 0.1 / 2
    found = study.sharpness.sel(process="discrete", snapshot=19).item()
    assert found == pytest.approx(expected, rel=1e-3)


def test_it_is_drawn_and_told(study) -> None:
    assert len(study.figure().axes) >= 3
    assert "rod_unit_step" in str(study) and "completed" in str(study)


def test_a_study_that_is_there_is_taken_up_and_another_one_is_not(study, folder) -> None:
    path = study.folder / "rod_unit_step.nc"
    before = path.stat().st_mtime_ns
    make(folder)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"flows": ["rods"]}, "flows has 'rods'; there are stable"),
        (
            {"flows": ["pair"]},
            "flows has 'pair'; it models minibatches, and a study takes all data",
        ),
        ({"steps": 3, "start": 4}, r"start \+ every is 4 \+ 1; it must be at most steps"),
        ({"start": 0}, "start is 0; it must be a whole number"),
        (
            {"flows": ["rod_macro"], "optimizer": optax.adam(0.01)},
            "rod flow in macro steps: it is known for optimizers without momentum only",
        ),
        ({"optimizer": 3}, "optimizer is int; give an optax transformation"),
        ({"name": "My run"}, "name is 'My run'; it must be lower-case"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(changes, words) -> None:
    how = {"optimizer": optax.sgd(0.1), "steps": 24, **changes}
    told = {"progress": False, **how}
    with pytest.raises(RodflowError, match=words):
        rodflow.study(loss, START, told.pop("optimizer"), data=X, **told)


def test_the_face_names_what_it_offers() -> None:
    assert all(getattr(rodflow, name) is not None for name in rodflow.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rodflow.nothing


@pytest.mark.slow
def test_the_rods_of_an_optimizer_without_a_threshold_have_a_curvature(tmp_path):
    muon = optax.contrib.muon(0.02)
    found = short(muon, tmp_path, start=4, flows=())
    rods = found.along_rod.sel(process="discrete")
    assert np.isfinite(rods["secant"]).all()
    assert np.isfinite(rods["quotient"]).all()
    assert np.isnan(rods["secant_over_threshold"]).all()


@pytest.mark.slow
def test_a_warm_up_from_a_rate_of_zero_begins_infinitely_far_from_its_threshold(tmp_path):
    """At the first snapshot nothing moves, so the largest eigenvalue of G^{1/2} H G^{1/2} is 0."""
    warm_up = optax.adam(optax.linear_schedule(0, 0.02, 8))
    found = short(warm_up, tmp_path, start=1, every=1)
    assert (found.sharpness.sel(snapshot=1) == 0).all()
    assert (found.sharpness.isel(snapshot=slice(1, None)) > 0).all()
    stored = found.run.sharpness("discrete")
    assert np.isfinite(stored["error"]).all()
    assert np.isfinite(stored["eigenvector"]).all()


@pytest.mark.slow
def test_an_optimizer_that_turns_by_another_angle_is_studied_and_the_angle_is_said(tmp_path):
    """Along the mean of the last two gradients the first mode to grow turns by a right angle."""

    def update(gradient, last, params=None):
        return jax.tree.map(lambda a, b: -0.05 * (a + b), gradient, last), gradient

    delayed = optax.GradientTransformation(lambda p: jax.tree.map(jnp.zeros_like, p), update)
    found = short(delayed, tmp_path, start=4, every=4)
    assert "turns by 90 degrees a step, where a rod is no model" in found.threshold
    assert found.run.angle == pytest.approx(np.pi / 2, abs=1e-6)
    assert found.run.has_threshold and not found.run.alternates
    written = {text.get_text() for axes in found.figure().axes for text in axes.texts}
    assert "first mode turns by 90° a step: no rod" in written


def test_what_the_rod_sees_is_in_the_result_by_name(study):
    rods = study.along_rod
    over_threshold = {"secant_over_threshold", "quotient_over_threshold"}
    assert set(rods) == {"secant", "quotient", "multiplier"} | over_threshold
    assert np.isfinite(rods["multiplier"].sel(process="rod_unit_step").dropna("snapshot")).all()
    over = study.sharpness.sel(process="discrete")
    below = rods["quotient_over_threshold"].sel(process="discrete")
    assert (below <= over * (1 + 1e-2)).where(np.isfinite(below), True).all()


@pytest.mark.slow
def test_rods_close_as_the_rate_decays_in_the_run_and_in_the_flow(tmp_path):
    """Adam under warm-up and cosine decay: the threshold rises without end, and the oscillation dies."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((60, 6)).astype(np.float32)
    targets = np.sin(2 * inputs[:, :2]).astype(np.float32)
    params = {
        "in": (0.5 * rng.standard_normal((6, 16))).astype(np.float32),
        "out": (0.3 * rng.standard_normal((16, 2))).astype(np.float32),
    }

    def squared(params, data):
        x, y = data
        return jnp.mean((jnp.tanh(x @ params["in"]) @ params["out"] - y) ** 2)

    rate = optax.warmup_cosine_decay_schedule(0.0, 0.02, 30, 500)
    found = rodflow.study(
        squared,
        params,
        optax.adam(rate, b2=0.99),
        data=(inputs, targets),
        steps=500,
        start=40,
        every=20,
        folder=tmp_path,
        progress=False,
    )
    for process in ("discrete", "rod_unit_step"):
        length = found.trajectory(process)["rod_length"].sel(step=slice(40, None))
        assert float(length[-20:].max()) < 0.1 * float(length.max())
    last = found.comparison["error_last"]
    assert float(last.sel(process="rod_unit_step")) < 0.5 * float(last.sel(process="stable"))
