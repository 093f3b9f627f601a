"""Peak memory of the stages of a run with three times the steps and snapshots, as Snakemake calls them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rodflow.config.settings import resolve
from rodflow.store import artifact

pytestmark = pytest.mark.slow

# The shorter one fills the room that a checkpoint has in memory, `checkpoint.ROOM`, too.
STEPS = 300, 1000
WEIGHTS = 50_000


def experiment(steps: int):
    """Adam on a wide network and very few images, with a snapshot at every step."""
    return resolve(
        {
            "name": "memory",
            "dataset": {"name": "digits", "samples": 10},
            "models": {"mlp": {"kind": "mlp", "hidden": [WEIGHTS // 75]}},
            "optimizers": {"adam": {"learning_rate": 1e-4, "start": 2, "steps": steps}},
            "flows": ["stable"],
            "snapshots": {"every": 1},
            "sharpness": {"count": 1, "tolerance": 0.1},
            "replicas": 1,
        }
    )


def peak(stage: str, root: Path, **options: object) -> float:
    """Peak memory of a stage, MiB."""
    command = [sys.executable, "-m", "rodflow.cli", "stage", stage, "--root", str(root)]
    for name, value in options.items():
        command += [
            f"--{name}",
            str(value) if isinstance(value, (Path, str, int)) else json.dumps(value),
        ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def peaks(root: Path, steps: int) -> dict[str, float]:
    plan = experiment(steps)
    run = plan.runs[0]
    data, folder = root / "dataset.nc", root / run.path
    discrete, flow = folder / "discrete.nc", folder / "stable.nc"
    common = {"root": root, "dataset": data}
    peak("dataset", root, settings=plan.dataset, output=data)
    found = {
        "train": peak("train", **common, settings=[run.settings], output=discrete),
        "flow": peak(
            "flow", **common, settings=run.settings, discrete=discrete, flow="stable", output=flow
        ),
        "sharpness": peak(
            "sharpness",
            **common,
            settings=[run.settings],
            sharpness=plan.sharpness,
            trajectories=discrete,
            output=folder / "sharpness/discrete.nc",
        ),
        "replicas": peak(
            "replay",
            **common,
            settings=run.settings,
            discrete=discrete,
            sharpness=folder / "sharpness/discrete.nc",
            restart="null",
            replicas=1,
            output=folder / "replicas.nc",
        ),
    }
    with artifact.open_lazily(discrete) as stored:
        megabytes = stored.nbytes / 2**20
        assert stored.sizes["snapshot"] == steps
    print(
        f"{steps} snapshots, {megabytes:.0f} MiB:", {k: round(v) for k, v in found.items()}, "MiB"
    )
    return found


def test_peak_memory_does_not_grow_with_the_number_of_snapshots(tmp_path):
    short, long = (peaks(tmp_path / str(steps), steps) for steps in STEPS)
    for stage, megabytes in long.items():
        assert megabytes < 1.1 * short[stage], stage
