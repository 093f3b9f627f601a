"""Models, criteria and data of one's own, by the names that a config gives."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from representatives import now
from rodflow.config.blame import line, said
from rodflow.config.loading import call
from rodflow.config.reference import OwnError, digest, file_digest
from rodflow.errors import RodflowError
from rodflow.problem import labelled, objective

CODE = """
import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def data(files, offset: float = 0.0):
    x = np.load(files[0])["x"]
    return x + offset, np.sin(x)


def huber(outputs, targets, delta=1.0):
    size = jnp.abs(outputs - targets)
    return jnp.mean(jnp.where(size < delta, size**2 / 2, delta * (size - delta / 2)))


class Linen(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(x.shape[-1])(nn.tanh(nn.Dense(self.width)(x)))


def equinox(width: int, key):
    return eqx.nn.MLP(3, 3, width, 1, jax.nn.tanh, key=key)


class Nnx(nnx.Module):
    def __init__(self, width: int, rngs):
        self.inner, self.outer = nnx.Linear(3, width, rngs=rngs), nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, x):
        return self.outer(jnp.tanh(self.inner(x)))


def pair(width: int, seed: int):
    draw = np.random.default_rng(seed).standard_normal
    return lambda p, x: jnp.tanh(x @ p["a"]) @ p["b"], {"a": draw((3, width)), "b": draw((width, 3))}


class Stateful(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(x)


class Random(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=False)(nn.Dense(3)(x))


def nothing():
    return 3


def no_scalar(outputs, targets):
    return outputs - targets


def infinite(outputs, targets):
    return jnp.mean(outputs) / 0


def wrong(outputs, targets):
    shape = outputs.shape
    return jnp.mean(outputs - targets[:, :2])


def ragged():
    return np.zeros((3, 2)), np.zeros(4)


def raises(outputs, targets):
    raise ValueError("no such loss")


def decides(outputs, targets):
    size = jnp.mean(abs(outputs - targets))
    if size > 1:
        return size - 0.5
    return size**2 / 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "problem.py").write_text(CODE)
    np.savez(folder / "x.npz", x=np.random.default_rng(0).standard_normal((20, 3)))
    return folder


def own(folder: Path) -> dict[str, Any]:
    return {"folder": str(folder), "code": {"problem.py": digest(folder, "problem.py")}}


def data(folder: Path, name: str = "data", **settings: Any):
    files = {"x.npz": file_digest(folder, "x.npz")}
    settings = {"name": f"problem.py:{name}", "own": own(folder) | {"files": files}, **settings}
    return labelled.load(settings)


def loss_of(
    folder: Path, model: dict[str, Any], criterion: str = "problem.py:huber", seed: int = 0
):
    return objective.build(
        data(folder),
        model,
        criterion,
        seed,
        own=own(folder) | {"criterion": {"delta": 0.5}}
        if criterion == "problem.py:huber"
        else own(folder),
    )


def test_data_of_ones_own_are_inputs_and_targets(folder: Path) -> None:
    found = data(folder, offset=1.0, samples=12)
    x = np.load(folder / "x.npz")["x"].astype(np.float32)
    np.testing.assert_allclose(found["input"], (x + 1.0)[:12], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found["target"], np.sin(x)[:12], rtol=1e-6)


@pytest.mark.parametrize("name", now(["Linen", "equinox", "Nnx", "pair"], "equinox", "pair"))
def test_a_model_of_any_library_has_the_loss_of_its_own_code(folder: Path, name: str) -> None:
    loss, weights = loss_of(folder, {"kind": f"problem.py:{name}", "width": 5})
    assert weights.size == 3 * 5 + 5 * 3 + (0 if name == "pair" else 5 + 3)
    outputs = loss.network(loss.unravel(weights), loss.inputs)
    size = np.abs(np.asarray(outputs - loss.targets))
    expected = np.where(size < 0.5, size**2 / 2, 0.5 * (size - 0.25)).mean()
    np.testing.assert_allclose(loss(weights), expected, rtol=1e-6)
    other = loss_of(folder, {"kind": f"problem.py:{name}", "width": 5}, seed=1)[1]
    assert not np.array_equal(weights, other)


@pytest.mark.slow
def test_chunks_of_samples_have_the_same_loss_and_gradient(folder: Path) -> None:
    model = {"kind": "problem.py:Linen", "width": 5}
    whole, weights = objective.build(data(folder), model, "problem.py:huber", 0, own=own(folder))
    parts, _ = objective.build(
        data(folder), model, "problem.py:huber", 0, own=own(folder), samples_at_once=7
    )
    for one, other in zip(
        jax.value_and_grad(whole)(weights), jax.value_and_grad(parts)(weights), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_built_in_model_takes_data_of_ones_own(folder: Path) -> None:
    model = {"kind": "mlp", "hidden": [4]}
    loss, weights = objective.build(data(folder), model, "mse", 0)
    assert weights.size == 3 * 4 + 4 + 4 * 3 + 3
    outputs = loss.logits(weights)
    np.testing.assert_allclose(
        loss(weights), 0.5 * ((outputs - loss.targets) ** 2).sum(1).mean(), rtol=1e-6
    )


BAD_MODELS = {
    "Stateful": "the model keeps batch_stats beside its parameters",
    "Random": "the model is random: Dropout_0 needs PRNG for .dropout.; a step is a map of parameters",
    "nothing": "model is int; give a flax or equinox module",
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_model_that_is_no_map_of_parameters_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(RodflowError, match=BAD_MODELS[name]):
        loss_of(folder, {"kind": f"problem.py:{name}"})


BAD_CRITERIA = {
    "no_scalar": r"the criterion gives an array of shape \(20, 3\); it must be a scalar",
    "infinite": "the loss is .* at the start; begin where it is finite",
    "wrong": r"problem.py:71: TypeError: .*\(20, 3\).*; in: return jnp.mean\(outputs - targets\[:, :2\]\)$",
    "raises": r"problem.py:79: ValueError: no such loss; in: raise ValueError\(\"no such loss\"\)$",
    "decides": r"problem.py:84: TracerBoolConversionError: a traced value is neither .* for if; in: if size > 1:$",
}


@pytest.mark.parametrize("name", BAD_CRITERIA)
def test_a_criterion_that_is_no_loss_is_refused_with_its_line(folder: Path, name: str) -> None:
    with pytest.raises(RodflowError, match=BAD_CRITERIA[name]) as refused:
        loss_of(folder, {"kind": "problem.py:Linen", "width": 5}, f"problem.py:{name}")
    assert "\n" not in str(refused.value)


def test_data_that_do_not_fit_are_refused(folder: Path) -> None:
    with pytest.raises(OwnError, match="inputs has 3 samples, targets 4"):
        data(folder, "ragged")


def test_a_file_that_has_changed_since_is_refused(folder: Path) -> None:
    before = own(folder)
    (folder / "problem.py").write_text(CODE.replace("size - delta / 2", "size - delta / 3"))
    try:
        with pytest.raises(
            OwnError, match=r"problem\.py: has changed since the settings were made"
        ):
            objective.build(
                data(folder), {"kind": "problem.py:Linen", "width": 5}, "mse", 0, own=before
            )
    finally:
        (folder / "problem.py").write_text(CODE)


def test_an_error_of_others_has_no_line_of_ones_own(folder: Path) -> None:
    loss_of(folder, {"kind": "problem.py:Linen", "width": 5})
    try:
        ravel_pytree(jnp.zeros(3))[1](jnp.zeros(4))
    except Exception as error:
        assert line(error) is None
        assert said(error, None).startswith("ValueError: ")


def test_a_module_beside_ones_own_code_is_that_of_its_own_folder(tmp_path):
    """Two experiments in one process may each have a `helper.py`."""
    found = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "helper.py").write_text(f"NUMBER = {number}")
        (folder / "problem.py").write_text(
            "import helper\n\ndef number():\n    return helper.NUMBER\n"
        )
        place = {"folder": str(folder), "code": {"problem.py": digest(folder, "problem.py")}}
        found.append(call("problem.py:number", place, {}))
    assert found == [1, 2]


def test_a_changed_module_beside_ones_own_code_is_read_again(tmp_path):
    (tmp_path / "problem.py").write_text(
        "import helper\n\ndef number():\n    return helper.NUMBER\n"
    )
    found = []
    for number in ("1", "22"):
        (tmp_path / "helper.py").write_text(f"NUMBER = {number}")
        place = {"folder": str(tmp_path), "code": {"problem.py": digest(tmp_path, "problem.py")}}
        found.append(call("problem.py:number", place, {}))
    assert found == [1, 22]
