"""Whole stages as the workflow calls them: start, compilation, memory, and how accurate what they make is."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from measuring import experiment, run_of, spent

from rodflow.analysis.comparison import geometric_mean, tracking_error
from rodflow.store import artifact

STAGE = [sys.executable, "-m", "rodflow.cli", "stage"]
FLOWS = ("discrete", "stable", "rod", "rod_unit_step")


# Start-up. ---------------------------------------------------------------------------------------

ABSENT = "absent.nc"
RUN = '{"steps": 1}'
STARTS = {
    "train": {"settings": f"[{RUN}]", "dataset": ABSENT},
    "flow": {"settings": RUN, "dataset": ABSENT, "discrete": ABSENT, "flow": "rod"},
    "sharpness": {
        "settings": f"[{RUN}]",
        "sharpness": "{}",
        "dataset": ABSENT,
        "trajectories": ABSENT,
    },
    "comparison": {
        "settings": '[{"steps": 1, "start": 0}]',
        "trajectories": f"results/{ABSENT}",
        "sharpness": f"results/sharpness/{ABSENT}",
        "replays": f"results/{ABSENT}",
    },
    "figure": {"figure": "tracking", "sources": ABSENT},
}
"""Stages with inputs that are not there: each loads what it needs, does not find them and ends."""


def start_of(kind):
    words = [f"--{name}={value}" for name, value in STARTS[kind].items()]
    return [*STAGE, kind, "--root=results", "--output=results/none.nc", *words]


def beginning(benchmark, command, what, status=1, **environment):
    benchmark.group = "start"
    found = []
    benchmark.pedantic(lambda: found.append(spent(command, status=status, **environment)), rounds=3)
    benchmark.extra_info.update(
        what=what,
        seconds=min(one.seconds for one in found),
        processor=min(one.processor for one in found),
    )


@pytest.mark.parametrize("code", ["pass", "import jax"])
def test_start_of_python(benchmark, code):
    beginning(benchmark, [sys.executable, "-c", code], f"`python -c '{code}'`", status=0)


@pytest.mark.parametrize("kind", STARTS)
def test_start_of_a_stage(benchmark, kind):
    beginning(benchmark, start_of(kind), f"{kind}, by itself")


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """The socket of a warm process."""
    path = tmp_path_factory.mktemp("warm") / "folder" / "socket"
    path.parent.mkdir()
    command = [sys.executable, "-m", "rodflow.cli.server", path]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    while not path.exists():
        assert process.poll() is None, "the warm process ended"
        time.sleep(0.02)
    yield str(path)
    process.communicate(timeout=10)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no warm process")
@pytest.mark.parametrize("kind", STARTS)
def test_start_of_a_stage_in_the_warm_process(benchmark, warm, kind):
    beginning(benchmark, start_of(kind), f"{kind}, in the workflow", RODFLOW_WARM=warm)


# Stages that work. -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder:
    """An experiment's folder, in which stages write."""

    root: Path

    def command(self, stage, **options):
        """A stage's; what Snakemake would call, with the data set among the options."""
        options = {"root": self.root, "dataset": self.root / "dataset.nc"} | options
        words = [f"--{name}={value}" for name, value in options.items()]
        return [*STAGE, stage, *words]

    def stage(self, settings, process):
        """The command that makes a trajectory of a run, and its file; a flow's discrete run is made if missing."""
        run = self.root / f"{settings['optimizer']['name']}-{settings['steps']}"
        run.mkdir(exist_ok=True)
        output = run / f"{process}.nc"
        if process == "discrete":
            return self.command("train", settings=json.dumps([settings]), output=output), output
        command = self.command(
            "flow",
            settings=json.dumps(settings),
            discrete=self.discrete(settings),
            flow=process,
            output=output,
        )
        return command, output

    def discrete(self, settings):
        """The file of a discrete run that is only needed."""
        command, output = self.stage(settings, "discrete")
        if not output.exists():
            spent(command)
        return output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An experiment's folder with its data set."""
    root = tmp_path_factory.mktemp("results")
    spent(
        [
            *(*STAGE, "dataset", f"--root={root}"),
            f"--settings={json.dumps(experiment().dataset)}",
            f"--output={root / 'dataset.nc'}",
        ]
    )
    return Folder(root)


@pytest.mark.parametrize(
    ("optimizer", "process"),
    [
        *(("gd", process) for process in (*FLOWS, "closure", "central", "edge", "sharpness")),
        *(("adam", process) for process in (*FLOWS, "sharpness")),
    ],
)
def test_compilation(benchmark, folder, tmp_path, optimizer, process):
    benchmark.group = "compilation"
    full = run_of("mlp", optimizer).settings
    short = full | {"steps": full["start"] + 2 * full["snapshots"]["every"]}
    if process == "sharpness":
        command = sharpness_stage(folder, short)
    else:
        command, _ = folder.stage(short, process)
    cache = tmp_path / "cache"
    first = benchmark.pedantic(lambda: spent(command, RODFLOW_CACHE=str(cache)), rounds=1)
    second = spent(command, RODFLOW_CACHE=str(cache))
    benchmark.extra_info.update(
        optimizer=optimizer,
        process=process,
        empty_cache=first.numbers,
        warm_cache=second.numbers,
        cached=sum(file.stat().st_size for file in cache.rglob("*")),
    )


def sharpness_stage(folder, settings):
    discrete = folder.discrete(settings)
    return folder.command(
        "sharpness",
        settings=json.dumps([settings]),
        sharpness=json.dumps(experiment().sharpness),
        trajectories=discrete,
        output=discrete.with_name("sharpness.nc"),
    )


@pytest.mark.parametrize("process", FLOWS)
@pytest.mark.parametrize("optimizer", ["gd", "rmsprop", "adam"])
def test_whole_stage(benchmark, folder, tmp_path, optimizer, process):
    benchmark.group = "stages"
    settings = run_of("mlp", optimizer).settings
    command, output = folder.stage(settings, process)
    # Compilation is part of the memory, so the cache is empty.
    cache = str(tmp_path / "cache")
    found = benchmark.pedantic(lambda: spent(command, RODFLOW_CACHE=cache), rounds=1)
    data = artifact.read(output, kind="trajectory")
    benchmark.extra_info.update(
        optimizer=optimizer,
        process=process,
        **found.numbers,
        steps=data.sizes["step"],
        step_time=data.attrs["step_time_s"],
        gradients=1.0 if process == "discrete" else float(data["gradients"].mean()),
        status=data.attrs["status"],
    )
    if process != "discrete":
        discrete = folder.discrete(settings)
        error = tracking_error(data, artifact.read(discrete, kind="trajectory"))
        benchmark.extra_info.update(
            error_mean=float(geometric_mean(error)), error_last=float(error[-1])
        )
