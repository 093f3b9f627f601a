"""Compare the flows of some runs with their iterates, one output each, beside which its inputs are."""

from pathlib import Path

import stage


def main() -> None:
    from rodflow.analysis.comparison import compare
    from rodflow.store import artifact

    args = stage.arguments(
        __doc__,
        settings=stage.JSON,
        trajectories=stage.PATHS,
        sharpness=stage.PATHS,
        replays={"type": Path, "nargs": "*"},
        output=stage.PATHS,
    )
    clock = stage.Clock("comparison", args.settings[0]["steps"])
    for settings, output in zip(args.settings, args.output, strict=True):
        run = output.parent
        clock.restart()
        trajectories, sharpness, replays = (
            {path.stem: path for path in paths if path.parent == folder}
            for paths, folder in (
                (args.trajectories, run),
                (args.sharpness, run / "sharpness"),
                (args.replays, run),
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
        artifact.write(
            data,
            output,
            kind="comparison",
            root=args.root,
            settings=settings,
            inputs=trajectories | named | replays,
            wall_time=clock.elapsed,
        )


stage.run(main)
