"""An experiment of one's own outside the clone: nothing of the package is edited from data to audit."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rodflow.cli.main import main
from rodflow.config.settings import load, resolve
from rodflow.store import artifact

REPOSITORY = Path(__file__).parents[2]


def test_a_new_folder_has_an_experiment_that_resolves(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "mine"
    assert main(["new", str(folder)]) == 0
    assert "next: rodflow run" in capsys.readouterr().out
    experiment = resolve(load(folder / "config.yaml"), folder)
    assert [run.settings["optimizer"]["name"] for run in experiment.runs] == [
        "gd",
        "problem.py:muon",
    ]
    assert main(["new", str(folder)]) == 1
    assert capsys.readouterr().err == f"error: {folder}: is not empty; name a new folder\n"


def test_a_bad_config_is_refused_before_snakemake_is_called(tmp_path: Path, capsys) -> None:
    assert main(["new", str(tmp_path / "mine")]) == 0
    config = tmp_path / "mine/config.yaml"
    config.write_text(config.read_text().replace("problem.py:muon", "problem.py:moun"))
    capsys.readouterr()
    assert main(["run", str(config)]) == 1
    line = capsys.readouterr().err
    assert line.startswith(f'error: {config}: optimizers.mine.python is "problem.py:moun";')
    assert line.count("\n") == 1


def test_a_workflow_that_is_not_there_is_named(tmp_path: Path, capsys) -> None:
    assert main(["new", str(tmp_path / "mine")]) == 0
    words = ["run", str(tmp_path / "mine/config.yaml"), "--clone", str(tmp_path)]
    assert main(words) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: has no Snakefile; say with --clone where rodflow's repository is\n"
    )


def call(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [sys.executable, "-m", "rodflow.cli", *words],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_code_of_ones_own_goes_to_figure_and_audit_and_reruns_what_uses_it(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert main(["new", str(folder)]) == 0
    config = folder / "config.yaml"
    short = config.read_text().replace("steps: 200", "steps: 40").replace("[tracking, ", "[")
    other = short.replace("problem.py:muon", "other.py:muon").replace("replicas: 1", "replicas: 0")
    config.write_text(other)
    (folder / "other.py").write_text((folder / "problem.py").read_text())
    run = ["run", "mine/config.yaml", "--cores", "1", "--clone", str(REPOSITORY)]
    done = call(run, tmp_path)
    assert done.returncode == 0, done.stderr
    results = folder / "results/own"
    assert "| problems | none |" in (results / "audit.md").read_text()
    settings = artifact.settings(artifact.read(results / "resmlp/mine/seed0/discrete.nc"))
    assert settings["own"]["code"].keys() == {"other.py", "problem.py"}
    assert str(tmp_path) not in str(settings)

    without = call(["audit", "--without-code", "--output", "../audit.json"], folder)
    assert without.returncode == 0, without.stderr
    assert "eigenvectors not checked: the run uses code" in (folder / "../audit.md").read_text()

    text = (folder / "other.py").read_text()
    (folder / "other.py").write_text(text.replace("beta=beta", "beta=beta / 2"))
    plan = call([*run, "--dry-run"], tmp_path).stdout
    assert "discrete run: resmlp/mine/seed0" in plan
    assert "discrete run: resmlp/gd/seed0" not in plan
    assert call(["audit"], folder).returncode == 1  # until it has run again

    (folder / "other.py").write_text(text.replace("return optax", "return optax.nothing.of"))
    failed = call(run, tmp_path)
    assert failed.returncode == 1
    assert "error: other.py:36: AttributeError: module 'optax' has no attribute 'nothing'" in (
        failed.stdout + failed.stderr
    )
    assert "Traceback" not in failed.stdout + failed.stderr
