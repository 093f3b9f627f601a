"""Train: the discrete run of one optimizer."""

import stage


def main() -> None:
    from rodflow import artifact, stages

    args = stage.arguments(__doc__, settings=stage.JSON, dataset=stage.PATH)
    clock = stage.Clock("discrete", args.settings["steps"])
    data = stages.discrete_run(artifact.read(args.dataset, kind="dataset"), args.settings, clock)
    inputs = {"dataset": args.dataset}
    stage.store(data, args.output, args, clock, kind="trajectory", inputs=inputs)


stage.run(main)
