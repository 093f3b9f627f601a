"""Prepare the data set."""

import stage


def main() -> None:
    from rodflow.problem import labelled
    from rodflow.store import artifact

    args = stage.arguments(__doc__, settings=stage.JSON)
    clock = stage.Clock("dataset", 0)
    data = labelled.load(args.settings)
    artifact.write(
        data,
        args.output,
        kind="dataset",
        root=args.root,
        settings=args.settings,
        wall_time=clock.elapsed,
    )


stage.run(main)
