"""A study of a problem of one's own: what comes out is that of the pieces, by the user's names, and can be taken up."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import rodflow
from rodflow.stages.study import StudyError

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
        ({"optimizer": 3}, "optimizer is int; give an optax transformation"),
        ({"name": "My run"}, "name is 'My run'; it must be lower-case"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(changes, words) -> None:
    how = {"optimizer": optax.sgd(0.1), "steps": 24, **changes}
    with pytest.raises(StudyError, match=words):
        rodflow.study(loss, START, how.pop("optimizer"), data=X, **how)


def test_the_face_names_what_it_offers() -> None:
    assert all(getattr(rodflow, name) is not None for name in rodflow.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rodflow.nothing
