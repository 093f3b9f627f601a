"""One optimizer, flow, model, data set and figure of another package go through the pipeline."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs/CONTRIBUTING.md").read_text(encoding="utf-8")
MODULES = re.findall(
    r"`src/rodflow/\S+/(\w+)\.py`, entry point group `([\w.]+)`:\n\n```python\n(.*?)```",
    PAGE,
    re.DOTALL,
)
CONFIG = {
    "name": "plugins",
    "dataset": {"name": "stripes", "samples": 20},
    "models": {"line": {"kind": "linear"}},
    "optimizers": {"adabelief": {"learning_rate": 0.01, "start": 3, "steps": 12}},
    "flows": ["stable", "heun"],
    "snapshots": {"every": 3},
    "sharpness": {"count": 1},
    "replicas": 1,
    "figures": ["losses"],
}


def first(folder: Path) -> str:
    """Where Python looks for modules: in a folder, then where this process was told to."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder beside an installed package that holds the modules of CONTRIBUTING.md."""
    folder = tmp_path_factory.mktemp("plugins")
    package, installed = folder / "site/added", folder / "site/added-1.dist-info"
    package.mkdir(parents=True)
    installed.mkdir()
    (package / "__init__.py").touch()
    points = []
    for name, group, code in MODULES:
        (package / f"{name}.py").write_text(code)
        points.append(f"[{group}]\n{name} = added.{name}\n")
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("\n".join(points))
    (folder / "plugins.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


def test_the_page_has_one_module_of_each_kind() -> None:
    kinds = ("optimizers", "flows", "models", "datasets", "figures")
    assert [group for _, group, _ in MODULES] == [f"rodflow.{kind}" for kind in kinds]


@pytest.mark.slow
def test_a_plugin_of_each_kind_goes_through_the_pipeline_to_the_audit(folder: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--profile", str(REPOSITORY / "workflow/profiles/default"), "--cores", "1"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": first(folder / "site"), "PATH": path}
    done = subprocess.run(
        [*command, "--configfile", "plugins.yaml"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = folder / "results/plugins"
    run = results / "line/adabelief/seed0"
    assert {path.stem for path in run.glob("*.nc")} >= {"discrete", "stable", "heun", "comparison"}
    assert (results / "figures/losses_line.png").stat().st_size > 1000
    assert "| problems | none |" in (results / "audit.md").read_text()


def test_a_declaration_that_cannot_be_read_is_named_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
from importlib.metadata import EntryPoint
from rodflow.config import catalogue
catalogue._entry_points = lambda: [EntryPoint("odd", "odd", "rodflow.models")]
try:
    catalogue.MODELS["odd"]
except catalogue.CatalogueError as error:
    print(error)
"""
    (tmp_path / "odd.py").write_text("MODEL = Model(title=words())\n")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": first(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(
        f"{tmp_path}/odd.py:1: MODEL of model odd cannot be read (NameError"
    )
    assert "words of rodflow.config.declarations only" in done.stdout
