"""The audit of a folder that a study wrote: files and comparisons, and what it says that it cannot check."""

import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow.audit.audit import AuditError
from rodflow.audit.study import audit_study
from rodflow.cli.main import main
from rodflow.stages.study import study
from rodflow.store import artifact


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "mine"
    x = np.linspace(-1, 1, 8, dtype=np.float32)

    def loss(params):
        return jnp.mean((params["b"] * jnp.tanh(params["a"] * x) - x) ** 2)

    start = {"a": np.float32([0.5]), "b": np.float32([0.7])}
    study(loss, start, optax.sgd(0.1), steps=12, every=3, folder=folder, progress=False)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "mine"))


def test_a_study_is_intact_and_its_comparison_comes_out_again(folder: Path, capsys) -> None:
    report = audit_study(folder)
    assert report.problems == () and report.numbers > 40
    assert {one.path for one in report.consequences} == {
        f"own/own/seed0/sharpness/{name}.nc" for name in ("discrete", "stable", "rod_unit_step")
    }
    assert main(["audit", str(folder)]) == 0
    assert "mine: 7 of 7 artifacts intact" in capsys.readouterr().out
    assert "the loss of a study is in no file" in (folder / "audit.md").read_text()


def test_a_flipped_byte_is_named(folder: Path) -> None:
    path = folder / "own/own/seed0/stable.nc"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (problem,) = audit_study(folder).problems
    assert problem.path == "own/own/seed0/stable.nc" and "damaged" in problem.what


def test_a_comparison_with_other_numbers_is_named(folder: Path) -> None:
    path = folder / "own/own/seed0/comparison.nc"
    data = artifact.read(path)
    data["tracking_error"] = 2 * data["tracking_error"]
    artifact.write(data, path, kind="comparison", root=folder, settings=artifact.settings(data))
    (problem,) = audit_study(folder).problems
    assert problem.path == "own/own/seed0/comparison.nc"
    assert problem.what.startswith("tracking_error[")


def test_a_missing_trajectory_is_named(folder: Path) -> None:
    (folder / "own/own/seed0/stable.nc").unlink()
    (problem,) = audit_study(folder).problems
    assert problem.what.startswith("cannot be recomputed: cannot be read: No such file")


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="holds no study; give the folder of rodflow"):
        audit_study(tmp_path)
