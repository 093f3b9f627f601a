"""Every stage as the workflow calls it, in a process that tells what it loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rodflow.config import uses
from rodflow.config.code import closure
from rodflow.config.plan import figures
from rodflow.config.settings import resolve
from rodflow.store import artifact

pytestmark = pytest.mark.slow

EXPERIMENT = resolve(
    {
        "name": "stages",
        "dataset": {"name": "digits", "samples": 40},
        "models": {"mlp": {"kind": "mlp", "hidden": [4]}},
        "optimizers": {"adam": {"learning_rate": 0.01, "start": 1, "steps": 30}},
        "flows": ["stable", "rod_unit_step", "closure", "adam_continuous"],
        "snapshots": {"every": 5},
        "sharpness": {"count": 1, "tolerance": 0.1},
        "replicas": 1,
        "figures": ["tracking", "function_space", "toy"],
    }
)
(RUN,) = EXPERIMENT.runs
SETTINGS = RUN.settings
CALL = """
import atexit, json, sys
from rodflow.cli.main import run
status = run(sys.argv[1:])
print(json.dumps([name for name in sys.modules if name.split(".")[0] == "rodflow"]))
sys.exit(status)
"""


def words(stage: str, **options: object) -> list[str]:
    found = ["stage", stage.replace("_", "-"), "--root", "stages"]
    for name, value in options.items():
        several = value if isinstance(value, list) and name != "settings" else [value]
        texts = [one if isinstance(one, str) else json.dumps(one) for one in several]
        found += [f"--{name}", *texts]
    return found


FOLDER = f"stages/{RUN.path}"
DATA = "stages/dataset.nc"
DISCRETE = f"{FOLDER}/discrete.nc"
TRAJECTORIES = [f"{FOLDER}/{process}.nc" for process in RUN.processes]
SHARPNESS = [f"{FOLDER}/sharpness/{process}.nc" for process in RUN.processes]
COMMON = {"settings": SETTINGS, "dataset": DATA, "discrete": DISCRETE}
CALLS = {
    "dataset": (
        words("dataset", settings=EXPERIMENT.dataset, output=DATA),
        uses.modules("dataset", EXPERIMENT.dataset),
    ),
    "train": (
        words("train", settings=[SETTINGS], dataset=DATA, output=[DISCRETE]),
        uses.modules("train", SETTINGS),
    ),
    **{
        flow: (
            words("flow", **COMMON, flow=flow, output=f"{FOLDER}/{flow}.nc"),
            uses.modules("flow", SETTINGS, flow=flow),
        )
        for flow in RUN.flows
    },
    "sharpness": (
        words(
            "sharpness",
            settings=[SETTINGS],
            sharpness=EXPERIMENT.sharpness,
            dataset=DATA,
            trajectories=TRAJECTORIES,
            output=SHARPNESS,
        ),
        uses.modules("sharpness", SETTINGS),
    ),
    **{
        kind: (
            words(
                "replay",
                **COMMON,
                sharpness=SHARPNESS[0],
                restart="null",
                replicas="1",
                output=[f"{FOLDER}/{kind}.nc"],
            ),
            uses.modules("replay", SETTINGS, replays=[kind]),
        )
        for kind in ("replicas", "iterates", "onset_window")
    },
    "comparison": (
        words(
            "comparison",
            settings=[SETTINGS],
            trajectories=TRAJECTORIES,
            sharpness=SHARPNESS,
            replays=[f"{FOLDER}/replicas.nc", f"{FOLDER}/iterates.nc"],
            output=[f"{FOLDER}/comparison.nc"],
        ),
        uses.modules("comparison", SETTINGS),
    ),
    "outputs": (
        words(
            "outputs",
            settings=SETTINGS,
            dataset=DATA,
            trajectories=TRAJECTORIES,
            output=f"{FOLDER}/outputs.nc",
        ),
        uses.modules("outputs", SETTINGS),
    ),
    "toy": (words("toy", output="stages/toy.nc"), uses.modules("toy")),
    "adam_region": (
        words("adam_region", dataset=DATA, output="stages/adam_region.nc"),
        uses.modules("adam_region"),
    ),
    **{
        f"figure {figure.name}": (
            words(
                "figure",
                figure=figure.name,
                part=figure.part,
                sources=[f"stages/{path}" for path in figure.drawn_from],
                output=f"stages/{figure.stem}.png",
            ),
            uses.modules("figure", figure=figure.name),
        )
        for figure in figures(EXPERIMENT)
    },
}


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, set[str]]]:
    """The folder in which all stages were called, in their order, and what each loaded."""
    folder = tmp_path_factory.mktemp("stages")
    environment = os.environ | {"JAX_ENABLE_X64": "1", "MPLBACKEND": "module://not.here"}
    loaded = {}
    for name, (arguments, _) in CALLS.items():
        done = subprocess.run(
            [sys.executable, "-c", CALL, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
        loaded[name] = set(json.loads(done.stdout.splitlines()[-1]))
    return folder, loaded


@pytest.fixture(scope="module")
def for_help() -> set[str]:
    """What the command line loads before it knows the stage, which can change no result."""
    code = (
        "import json, sys; from rodflow.cli.main import parser; parser(); "
        "print(json.dumps([name for name in sys.modules if name.startswith('rodflow')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    files = {"rodflow.store", "rodflow.store.files"}  # which every stage depends on
    found = set(json.loads(done.stdout)) - files
    others = found - {"rodflow.stages", "rodflow.stages.progress"}  # which only prints
    assert {name.split(".")[1] for name in others if "." in name} <= {"cli", "config", "errors"}
    return found | {"rodflow.store.manifest"}  # is told of what takes its name, and makes nothing


@pytest.mark.parametrize("name", CALLS)
def test_a_stage_loads_nothing_that_it_does_not_depend_on(called, for_help, name):
    """The digest of its code is of all that it loaded, but for the command line."""
    known = set(closure(*CALLS[name][1]))
    assert called[1][name] - for_help <= known
    assert {"rodflow.cli.environment", "rodflow.cli.jobs"} <= known


def test_every_artifact_says_in_which_environment_it_was_made(called):
    folder, _ = called
    for path in folder.rglob("*.nc"):
        recorded = json.loads(artifact.read(path).attrs["environment"])
        assert recorded["XLA_FLAGS"].startswith("--xla_cpu_multi_thread_eigen=false")
        assert "JAX_ENABLE_X64" not in recorded


def test_double_precision_in_the_environment_changes_no_artifact(called):
    folder, _ = called
    assert artifact.read(folder / DISCRETE)["weights"].dtype == "float32"
