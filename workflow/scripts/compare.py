"""Compare the flows of one run with its iterates."""

import stage


def main() -> None:
    from rodflow import artifact
    from rodflow.comparison import compare

    args = stage.arguments(
        __doc__, settings=stage.JSON, trajectories=stage.PATHS, sharpness=stage.PATHS
    )
    clock = stage.Clock("comparison", args.settings["steps"])
    data = compare(
        {path.stem: artifact.read(path, kind="trajectory") for path in args.trajectories},
        {path.stem: artifact.read(path, kind="sharpness") for path in args.sharpness},
        start=args.settings["start"],
        steps=args.settings["steps"],
    )
    inputs = {path.stem: path for path in args.trajectories}
    inputs |= {f"sharpness/{path.stem}": path for path in args.sharpness}
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
