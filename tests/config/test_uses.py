"""Which stages run again after a change of which module: by the digests that the rules give Snakemake.

The graph of imports is found a second time by the standard library's ModuleFinder, which reads compiled code.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from modulefinder import ModuleFinder
from pathlib import Path

import pytest

import rodflow
from rodflow.config import uses

SOURCE = Path(rodflow.__file__).parent
ADAM = {"optimizer": {"name": "adam"}, "model": {"kind": "mlp"}}
GD = {"optimizer": {"name": "gd"}, "model": {"kind": "cnn"}}
JOBS = {
    "dataset": ("dataset", [{"name": "digits"}], {}),
    "train": ("train", [ADAM], {}),
    "train two": ("train", [ADAM, GD], {}),
    "stable": ("flow", [ADAM], {"flow": "stable"}),
    "closure": ("flow", [GD], {"flow": "closure"}),
    "adam_continuous": ("flow", [ADAM], {"flow": "adam_continuous"}),
    "sharpness": ("sharpness", [GD], {}),
    "replicas": ("replay", [ADAM], {"replays": ["replicas"]}),
    "iterates": ("replay", [ADAM], {"replays": ["iterates", "onset_window"]}),
    "outputs": ("outputs", [ADAM], {}),
    "comparison": ("comparison", [ADAM], {}),
    "toy": ("toy", [], {}),
    "adam_region": ("adam_region", [], {}),
    "tracking": ("figure", [], {"figure": "tracking"}),
    "thresholds": ("figure", [], {"figure": "thresholds"}),
    "audit": ("audit", [], {}),
}
LIBRARY, MODELS, FLOWS = (
    "rodflow.optimizers.library",
    "rodflow.problem.models",
    "rodflow.dynamics.flows",
)
NAMED = {
    "dataset": ["rodflow.problem.datasets.digits"],
    "train": [f"{LIBRARY}.adam", f"{MODELS}.mlp"],
    "train two": [f"{LIBRARY}.adam", f"{MODELS}.mlp", f"{LIBRARY}.gd", f"{MODELS}.cnn"],
    "stable": [f"{LIBRARY}.adam", f"{MODELS}.mlp", f"{FLOWS}.stable"],
    "closure": [f"{LIBRARY}.gd", f"{MODELS}.cnn", f"{FLOWS}.closure"],
    "adam_continuous": [f"{LIBRARY}.adam", f"{MODELS}.mlp", f"{FLOWS}.adam_continuous"],
    "sharpness": [f"{LIBRARY}.gd", f"{MODELS}.cnn"],
    "replicas": [f"{LIBRARY}.adam", f"{MODELS}.mlp", "rodflow.stages.replicas"],
    "iterates": [
        *(f"{LIBRARY}.adam", f"{MODELS}.mlp"),
        *("rodflow.stages.iterates", "rodflow.stages.onset_window"),
    ],
    "outputs": [f"{MODELS}.mlp"],
    "toy": [f"{LIBRARY}.gd", f"{LIBRARY}.heavy_ball"],
    "adam_region": [f"{LIBRARY}.adam", f"{MODELS}.mlp"],
    "tracking": ["rodflow.figures.rod_flow.tracking"],
    "thresholds": ["rodflow.figures.rod_flow.thresholds"],
}
"""What each job loads by a name in its settings."""


class OfThePackage(ModuleFinder):
    """Follows imports within the package only."""

    def find_module(self, name, path, parent=None):
        full = f"{parent.__name__}.{name}" if parent else name
        if name != "__init__" and full.split(".")[0] != "rodflow":
            raise ImportError(full)
        return super().find_module(name, path, parent)


def loaded(job: str) -> set[str]:
    """The modules that a job uses, found independently."""
    finder = OfThePackage(path=[str(SOURCE.parent)])
    folder = "commands" if job == "audit" else "stages"
    for module in (f"rodflow.cli.{folder}.{JOBS[job][0]}", *NAMED.get(job, [])):
        finder.import_hook(module)
    return set(finder.modules)


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path.relative_to(SOURCE) for path in sorted(SOURCE.rglob("*.py"))}

# Reads lines "module path what" and answers each with the digests of all jobs after that change alone.
SERVER = """
import json, sys
from pathlib import Path
from rodflow.config import uses
jobs = json.loads(sys.argv[1])

def digests():
    return {name: uses.code(stage, *runs, **own) for name, (stage, runs, own) in jobs.items()}

print(json.dumps(digests()), flush=True)
for line in sys.stdin:
    change = json.loads(line)
    path = Path(change["path"])
    before = path.read_bytes()
    path.write_text(change["text"], encoding="utf-8")
    print(json.dumps(digests()), flush=True)
    path.write_bytes(before)
"""


class Copy:
    """A copy of the package that is changed, and a process that computes digests in it."""

    def __init__(self, folder: Path) -> None:
        ignored = shutil.ignore_patterns("__pycache__")
        self.package = shutil.copytree(SOURCE, folder / "rodflow", ignore=ignored)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, json.dumps(JOBS)],
            env=os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.before = self._answer()

    def _answer(self) -> dict[str, str]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def text(self, module: str) -> str:
        return (self.package / MODULES[module]).read_text(encoding="utf-8")

    def rerun(self, module: str, text: str) -> set[str]:
        """The jobs that run again when a module is this text."""
        change = {"path": str(self.package / MODULES[module]), "text": text}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(change) + "\n")
        self.process.stdin.flush()
        after = self._answer()
        return {job for job in JOBS if after[job] != self.before[job]}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    made = Copy(tmp_path_factory.mktemp("copy"))
    yield made
    made.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return {job: loaded(job) for job in JOBS}


@pytest.mark.parametrize("module", MODULES)
def test_a_changed_module_reruns_the_jobs_that_load_it_and_no_other(copy, graph, module):
    changed = copy.text(module) + "\nCHANGED = 1\n"
    assert copy.rerun(module, changed) == {job for job in JOBS if module in graph[job]}


@pytest.mark.slow
def test_a_changed_comment_or_docstring_reruns_nothing(copy):
    for module in MODULES:
        text = copy.text(module).replace('"""', '"""Changed. ', 1) + "\n# Changed.\n"
        assert copy.rerun(module, text) == set(), module


def test_another_midpoint_reruns_every_discrete_run_and_every_flow(copy):
    """It defines the run's midpoint and the start of every flow."""
    module = "rodflow.dynamics.lifted"
    text = copy.text(module)
    head, found, rest = text.partition("def from_consecutive(")
    body = rest.replace("    return ", "    return 0.0, ", 1)
    assert found and body != rest
    again = copy.rerun(module, head + found + body)
    assert {"train", "train two", "stable", "closure", "iterates"} <= again
    assert not again & {"dataset", "comparison", "tracking", "thresholds"}


def test_what_the_environment_of_a_job_is_decides_every_artifact(copy):
    module = "rodflow.cli.environment"
    again = copy.rerun(module, copy.text(module).replace('"nan"', '"raise"'))
    assert again == {*JOBS}


@pytest.mark.parametrize("module", ["devices", "folders", "warm", "server", "parents", "keys"])
def test_what_changes_no_result_reruns_nothing(copy, module):
    name = f"rodflow.cli.{module}"
    assert copy.rerun(name, copy.text(name) + "\nCHANGED = 1\n") == set()


def test_a_stage_depends_on_what_its_run_names():
    assert uses.code("train", ADAM) != uses.code("train", GD)
    assert uses.code("train", ADAM) == uses.code("train", ADAM | {"seed": 7})


@pytest.mark.slow
def test_a_digest_imports_nothing_of_what_it_digests():
    code = (
        "import sys; from rodflow.config import uses; uses.code('audit'); uses.code('toy'); "
        "print({'jax', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "set()\n", found.stderr
