"""Compare the flows of one run with its iterates."""

from pathlib import Path

import stage


def main() -> None:
    from rodflow import artifact
    from rodflow.comparison import compare

    args = stage.arguments(
        __doc__,
        settings=stage.JSON,
        trajectories=stage.PATHS,
        sharpness=stage.PATHS,
        replays={"type": Path, "nargs": "*"},
    )
    replays = {path.stem: path for path in args.replays}
    clock = stage.Clock("comparison", args.settings["steps"])
    data = compare(
        {path.stem: artifact.read(path, kind="trajectory") for path in args.trajectories},
        {path.stem: artifact.read(path, kind="sharpness") for path in args.sharpness},
        **{kind: artifact.read(path, kind=kind) for kind, path in replays.items()},
        start=args.settings["start"],
        steps=args.settings["steps"],
    )
    inputs = {path.stem: path for path in args.trajectories}
    inputs |= {f"sharpness/{path.stem}": path for path in args.sharpness}
    inputs |= replays
    artifact.write(
        data,
        args.output,
        kind="comparison",
        root=args.root,
        settings=args.settings,
        inputs=inputs,
        wall_time=clock.elapsed,
    )


stage.run(main)
