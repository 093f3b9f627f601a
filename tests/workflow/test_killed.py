"""Stages killed with SIGKILL at random moments, called as Snakemake calls them: what they end with is the same data."""

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from rodflow.config.settings import resolve
from rodflow.store import artifact
from rodflow.store.checkpoint import _STATE as STATE

pytestmark = pytest.mark.slow

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
    """A job: its name, its options and the files that it makes, relative to the results root."""

    name: str
    options: dict[str, object]
    outputs: list[Path]

    def start(self, root: Path, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "rodflow.cli", "stage", self.name, "--root", str(root)]
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
            "replicas": 2,
        },
        [FOLDER / f"{kind}.nc" for kind in ("replicas", "iterates", "onset_window")],
    ),
]


def undisturbed(stage: Stage, root: Path, **environment: str) -> float:
    """Run a stage; the seconds that it took."""
    began = time.monotonic()
    with stage.start(root, **environment) as process:
        _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return time.monotonic() - began


@dataclass(frozen=True)
class Moment:
    """When a stage is killed: so many seconds after its start, or after so many checkpoints from there on."""

    seconds: float = 0.0
    checkpoints: int = 0

    def wait(self, process: subprocess.Popen[str], scratch: Path) -> None:
        """Until then, or until the process ends."""
        began, seen = time.time_ns(), set[tuple[Path, int]]()
        while len(seen) < self.checkpoints and process.poll() is None:
            with suppress(OSError):
                saved = {(p, p.stat().st_mtime_ns) for p in scratch.glob(f"*/{STATE}")}
                seen |= {(path, when) for path, when in saved if when > began}
            time.sleep(0.002)
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.seconds)


def disturbed(
    stage: Stage, root: Path, moments: list[Moment], **environment: str
) -> tuple[int, list[str]]:
    """Start a stage again and again and kill it at these moments, then let it end.

    Returns:
        How often it was killed before it ended, and where it said that it continues.
    """
    for path in stage.outputs:
        (root / path).unlink(missing_ok=True)
    told: list[str] = []
    for kills, moment in enumerate([*moments, Moment(600)]):
        with stage.start(root, RODFLOW_CHECKPOINT="0", **environment) as process:
            moment.wait(process, stage.scratch(root))
            process.send_signal(signal.SIGKILL)  # to no effect where it has ended
            said = process.stderr.read()
        told += re.findall(r"^.+: (continues .+)$", said, re.MULTILINE)
        assert "starts over" not in said, said
        if process.returncode == 0:
            return kills, told
        assert process.returncode == -signal.SIGKILL, said
    raise AssertionError(f"{stage.name} does not end")


def test_stages_killed_at_random_moments_end_with_the_same_data(tmp_path):
    root, cache = tmp_path / "results", {"RODFLOW_CACHE": str(tmp_path / "cache")}
    seconds = [undisturbed(stage, root, **cache) for stage in STAGES]
    expected = [stage.digests(root) for stage in STAGES]
    kill_all(root, seconds, expected, **cache)


def kill_all(root: Path, seconds: list[float], expected: list[list[str]], **cache: str) -> None:
    draw, kills, continued = random.Random(SEED), 0, 0
    which = itertools.cycle(range(1, len(STAGES)))  # a data set takes no time
    while kills < KILLS:
        stage = STAGES[index := next(which)]
        # Most of the time goes into loading and compiling, so most are counted in checkpoints.
        moments = [
            Moment(draw.uniform(0, 0.05), draw.randint(1, 3))
            if draw.random() < 0.7
            else Moment(draw.uniform(0, 1) * seconds[index])
            for _ in range(draw.randint(2, 4))
        ]
        killed, told = disturbed(stage, root, moments, **cache)
        print(f"{stage.name} {stage.outputs[0].stem}: killed {killed} times, {told}", flush=True)
        assert stage.digests(root) == expected[index]
        assert not stage.scratch(root).exists()
        kills, continued = kills + killed, continued + len(told)
    print(f"seed {SEED}: {kills} kills, continued {continued} times")
    assert continued >= KILLS // 2
    assert not [path for path in root.rglob(".*") if path.suffix in (".partial", ".tmp")]
