"""A path that a user gives may begin with a home folder, whichever key, variable or argument gives it."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import optax
import pytest
from PIL import Image

import rodflow
from rodflow.cli import folders
from rodflow.cli.commands.everything import at_hand
from rodflow.config.paths import PathError, placed
from rodflow.config.settings import ConfigError, resolve
from rodflow.errors import RodflowError
from rodflow.problem import labelled
from rodflow.problem.datasets import cifar10
from rodflow.stages.run import prepare

CODE = """
import jax.numpy as jnp
import numpy as np
import optax
import flax.linen as nn


def data(files):
    with np.load(files[0]) as stored:
        return stored["x"], stored["y"]


def huber(outputs, targets):
    return jnp.mean(optax.huber_loss(outputs, targets))


class Net(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.Dense(1)(inputs)


def sgd(learning_rate):
    return optax.sgd(learning_rate)
"""
CONFIG: dict[str, Any] = {
    "name": "home",
    "dataset": {"npz": "HERE/arrays.npz", "samples": 4},
    "models": {"mlp": {"kind": "mlp", "hidden": [2]}},
    "optimizers": {"gd": {"learning_rate": 0.1, "start": 5, "steps": 50}},
}
KEYS: dict[str, dict[str, Any]] = {
    "dataset.npz": {"dataset": {"npz": "HERE/arrays.npz", "samples": 4}},
    "dataset.folder": {"dataset": {"folder": "HERE/images", "samples": 4, "scaling": "unit"}},
    "dataset.text": {
        "dataset": {"text": "HERE/book.txt", "context": 4, "samples": 4},
        "models": {"small": {"kind": "transformer"}},
        "criterion": "cross_entropy",
    },
    "dataset.python": {"dataset": {"python": "HERE/code.py:data", "files": ["arrays.npz"]}},
    "dataset.files.0": {"dataset": {"python": "code.py:data", "files": ["HERE/arrays.npz"]}},
    "dataset.archive": {"dataset": {"name": "cifar10", "archive": "HERE/arrays.npz"}},
    "criterion.python": {"criterion": {"python": "HERE/code.py:huber"}},
    "models.net.python": {"models": {"net": {"python": "HERE/code.py:Net"}}},
    "optimizers.own.python": {
        "optimizers": {
            "own": {"python": "HERE/code.py:sgd", "learning_rate": 0.1, "start": 5, "steps": 50}
        }
    },
}
"""Every key that takes a path."""


def config(key: str, home: str) -> dict[str, Any]:
    """A config that gives the key a path in a home folder."""

    def there(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: there(one) for name, one in value.items()}
        if isinstance(value, list):
            return [there(one) for one in value]
        return value.replace("HERE", home) if isinstance(value, str) else value

    return {name: there(value) for name, value in (CONFIG | KEYS[key]).items()}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with all files, and a config's folder beside it that has only those that no test looks for."""
    found = tmp_path / "home"
    (found / "images/one").mkdir(parents=True)
    for index in range(4):
        Image.new("RGB", (4, 4), (60 * index, 9, 0)).save(found / f"images/one/{index}.png")
    (found / "book.txt").write_text("to be or not to be, that is the question")
    (found / "code.py").write_text(CODE)
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    np.savez(found / "arrays.npz", x=x, y=x[:, :1])
    monkeypatch.setenv("HOME", str(found))
    return found


@pytest.mark.parametrize("key", KEYS)
def test_a_path_of_a_config_may_begin_with_the_home_folder(
    key: str, home: Path, tmp_path: Path
) -> None:
    beside = tmp_path / "config"
    beside.mkdir()
    if key == "dataset.python":
        shutil.copy(home / "arrays.npz", beside)
    if key == "dataset.files.0":
        shutil.copy(home / "code.py", beside)
    experiment = resolve(config(key, "~"), beside)
    if key == "dataset.archive":
        assert at_hand(experiment)
        assert cifar10.at_hand(experiment.dataset["archive"]) == home / "arrays.npz"
        return
    data = labelled.load(experiment.dataset)
    assert data.sizes["sample"] in (4, 6)
    if key.endswith("python"):
        prepare(data, experiment.runs[0].settings)


@pytest.mark.parametrize("key", KEYS)
def test_a_home_folder_of_nobody_is_refused_by_the_key(key: str, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "arrays.npz").write_bytes(b"")
    with pytest.raises(ConfigError) as refused:
        resolve(config(key, "~nobody-of-this-name"), tmp_path)
    text = str(refused.value)
    assert text.startswith(f'{key} is "~nobody-of-this-name/') and "\n" not in text
    assert "the home folder ~nobody-of-this-name is of no user; write the whole path" in text


def test_a_folder_of_a_config_whose_own_folder_is_relative(home: Path, monkeypatch) -> None:
    """As `rodflow check config.yaml` has it."""
    monkeypatch.chdir(home)
    given = CONFIG | {"dataset": {"folder": "images", "samples": 4}}
    known = resolve(given, home).dataset["own"]["files"]
    assert resolve(given).dataset["own"]["files"] == known
    monkeypatch.chdir(home.parent)
    assert resolve(given, "home").dataset["own"]["files"] == known


def test_a_tilde_within_a_path_is_a_name(tmp_path: Path) -> None:
    assert placed("./~/a.npz", tmp_path) == tmp_path / "~/a.npz"
    assert placed("a~", tmp_path) == tmp_path / "a~"
    assert placed("/a/b", tmp_path) == Path("/a/b")


def test_variables_of_the_environment_take_a_home_folder(home: Path, monkeypatch) -> None:
    monkeypatch.setenv("RODFLOW_CIFAR10", "~/c.tar.gz")
    assert cifar10.at_hand(None) == home / "c.tar.gz"
    for name, within in (("RODFLOW_CACHE", "jax"), ("XDG_CACHE_HOME", "rodflow/jax")):
        environment = {name: "~/cache"}
        assert not [line for line in folders.keep_programs(environment) if "not kept" in line]
        assert environment["JAX_COMPILATION_CACHE_DIR"] == str(home / "cache" / within)


def test_a_variable_with_a_home_folder_of_nobody_is_named(monkeypatch) -> None:
    monkeypatch.setenv("RODFLOW_CIFAR10", "~nobody-of-this-name/c.tar.gz")
    with pytest.raises(PathError, match=r"^RODFLOW_CIFAR10 is ~nobody-of-this-name/c.tar.gz; the"):
        cifar10.at_hand(None)
    environment = {"RODFLOW_CACHE": "~nobody-of-this-name/cache"}
    (line,) = folders.keep_programs(environment)
    assert line.startswith("warning: RODFLOW_CACHE is ~nobody-of-this-name/cache; the home folder")
    assert "JAX_COMPILATION_CACHE_DIR" not in environment


def test_a_user_without_a_home_folder_is_told_so(monkeypatch) -> None:
    """As in a container whose user has no name."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(
        PathError, match="the home folder ~ is not known, as HOME is not set; write"
    ):
        placed("~/a.npz")


def test_a_study_and_results_take_a_home_folder(home: Path, monkeypatch) -> None:
    monkeypatch.chdir(home.parent)
    with pytest.raises(RodflowError, match=rf"^{home}/nothing: no results here"):
        rodflow.open_results("~/nothing")
    with pytest.raises(PathError, match=r"^folder is ~nobody-of-this-name/x; the home"):
        rodflow.study(
            lambda w: (w**2).sum(),
            np.ones(2, np.float32),
            optax.sgd(0.1),
            steps=20,
            folder="~nobody-of-this-name/x",
            progress=False,
        )
