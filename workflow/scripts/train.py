"""Train: discrete runs that share a program, of one settings and one output each."""

import stage


def main() -> None:
    from rodflow.stages.training import discrete_runs
    from rodflow.store import artifact

    args = stage.arguments(__doc__, settings=stage.JSON, dataset=stage.PATH, output=stage.PATHS)
    stage.take_devices(args.settings[0])
    dataset = artifact.read(args.dataset, kind="dataset")
    clock = stage.Clock("discrete", args.settings[0]["steps"])
    scratch = stage.scratch(args, args.output[0], clock)
    runs = discrete_runs(dataset, args.settings, clock, scratch)
    for data, settings, output in zip(runs, args.settings, args.output, strict=True):
        stage.store(
            data,
            output,
            args,
            clock,
            kind="trajectory",
            settings=settings,
            inputs={"dataset": args.dataset},
        )
        clock.restart()
    scratch.remove()


stage.run(main)
