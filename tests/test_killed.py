"""Stages killed with SIGKILL at random moments, called as Snakemake calls them: what they end with is the same data."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from rodflow import artifact
from rodflow.settings import resolve

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[1] / "workflow/scripts"
SEED, KILLS = 2026, 20
FLOWS = ["central", "rod"]
EXPERIMENT = resolve(
    {
        "name": "killed",
        "dataset": {"name": "digits", "samples": 60},
        "models": {"mlp": {"kind": "mlp", "hidden": [4]}},
        "optimizers": {"rmsprop": {"learning_rate": 0.005, "start": 10, "steps": 150}},
        "flows": FLOWS,
        "seeds": [0, 1],
        "snapshots": {"every": 5},
        "sharpness": {"count": 2},
    }
)
RUN, OTHER = EXPERIMENT.runs
FOLDER = Path(RUN.path)


@dataclass(frozen=True)
class Stage:
    """A job: its script, its options and the files that it makes, relative to the results root."""

    script: str
    options: dict[str, object]
    outputs: list[Path]

    def start(self, root: Path, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(SCRIPTS / f"{self.script}.py"), "--root", str(root)]
        for name, value in self.options.items():
            files = value if isinstance(value, list) else [value]
            words = [str(root / one) if isinstance(one, Path) else str(one) for one in files]
            command += [f"--{name}", *words]
        command += ["--output", *(str(root / path) for path in self.outputs)]
        return subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | environment
        )

    def digests(self, root: Path) -> list[str]:
        """Of the data of each output."""
        found = []
        for path in self.outputs:
            artifact.verify(root / path)
            with artifact.open_lazily(root / path) as data:
                found.append(data.attrs["data_sha256"])
        return found

    def scratch(self, root: Path) -> Path:
        path = root / self.outputs[0]
        return path.with_name(f".{path.name}.partial")


def dumped(value: object) -> str:
    return json.dumps(value, sort_keys=True)


DATASET = Path("dataset.nc")
DISCRETE = FOLDER / "discrete.nc"
SHARPNESS = [FOLDER / f"sharpness/{process}.nc" for process in RUN.processes]
STAGES = [
    Stage("dataset", {"settings": dumped(EXPERIMENT.dataset)}, [DATASET]),
    Stage(
        "train",
        {"settings": dumped([RUN.settings, OTHER.settings]), "dataset": DATASET},
        [DISCRETE, Path(OTHER.path) / "discrete.nc"],
    ),
    *(
        Stage(
            "flow",
            {
                "settings": dumped(RUN.settings),
                "dataset": DATASET,
                "discrete": DISCRETE,
                "flow": flow,
            },
            [FOLDER / f"{flow}.nc"],
        )
        for flow in FLOWS
    ),
    Stage(
        "sharpness",
        {
            "settings": dumped([RUN.settings]),
            "sharpness": dumped(EXPERIMENT.sharpness),
            "dataset": DATASET,
            "trajectories": [FOLDER / f"{process}.nc" for process in RUN.processes],
        },
        SHARPNESS,
    ),
    Stage(
        "replay",
        {
            "settings": dumped(RUN.settings),
            "dataset": DATASET,
            "discrete": DISCRETE,
            "sharpness": SHARPNESS[0],
            "restart": "null",
            "twins": 2,
        },
        [FOLDER / f"{kind}.nc" for kind in ("twins", "iterates", "closeup")],
    ),
]


def test_stages_killed_at_random_moments_end_with_the_same_data(tmp_path):
    root, cache = tmp_path / "results", {"RODFLOW_CACHE": str(tmp_path / "cache")}
    expected, seconds = {}, {}
    for stage in STAGES:
        for _ in range(2):  # the second time from the cache of compiled programs
            began = time.monotonic()
            with stage.start(root, **cache) as process:
                _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
            seconds[stage.outputs[0]] = time.monotonic() - began
        expected[stage.outputs[0]] = stage.digests(root)

    draw = random.Random(SEED)
    told, kills, killable = [], 0, STAGES[1:]
    while kills < KILLS:
        stage = killable[kills % len(killable)]
        for path in stage.outputs:
            (root / path).unlink(missing_ok=True)
        wanted, done = draw.randint(2, 5), False
        while not done:
            with stage.start(root, RODFLOW_CHECKPOINT="0", **cache) as process:
                if wanted > 0:
                    try:
                        process.wait(draw.uniform(0.3, 1.1) * seconds[stage.outputs[0]])
                    except subprocess.TimeoutExpired:
                        process.send_signal(signal.SIGKILL)
                _, said = process.communicate(timeout=300)
            killed = process.returncode == -signal.SIGKILL
            wanted, kills, done = wanted - killed, kills + killed, not killed
            told += re.findall(r"^.+: (continues .+)$", said, re.MULTILINE)
            assert "starts over" not in said, said
        assert process.returncode == 0, said
        assert stage.digests(root) == expected[stage.outputs[0]]
        assert not stage.scratch(root).exists()
    print(f"seed {SEED}: {kills} kills, {len(told)} continued: {told}")
    assert len(told) >= KILLS // 4, told
    assert artifact.verify_tree(root) == []
