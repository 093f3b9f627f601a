"""Compare the flows of some runs with their iterates, one output each, beside which its inputs are."""

from collections.abc import Mapping
from pathlib import Path

from rodflow.cli.jobs import JSON, PATHS, Job, Option

OPTIONS: Mapping[str, Option] = {
    "settings": JSON,
    "trajectories": PATHS,
    "sharpness": PATHS,
    "replays": {"type": Path, "nargs": "*", "metavar": "FILE"},
    "output": PATHS,
}
COMPUTES = False


def run(job: Job) -> None:
    """Compare each run by itself."""
    from rodflow.analysis.comparison import compare
    from rodflow.store import artifact

    args = job.args
    for settings, output in zip(args.settings, args.output, strict=True):
        folder = output.parent
        job.clock.restart()
        trajectories, sharpness, replays = (
            {path.stem: path for path in paths if path.parent == parent}
            for paths, parent in (
                (args.trajectories, folder),
                (args.sharpness, folder / "sharpness"),
                (args.replays, folder),
            )
        )
        data = compare(
            {name: artifact.read(path, kind="trajectory") for name, path in trajectories.items()},
            {name: artifact.read(path, kind="sharpness") for name, path in sharpness.items()},
            **{kind: artifact.read(path, kind=kind) for kind, path in replays.items()},
            start=settings["start"],
            steps=settings["steps"],
        )
        named = {f"sharpness/{name}": path for name, path in sharpness.items()}
        inputs = trajectories | named | replays
        job.store(
            data, output, kind="comparison", settings=settings, inputs=inputs, computed=COMPUTES
        )
