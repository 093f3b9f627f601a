"""Integrate a flow from the discrete run's states around the start."""

import stage


def main() -> None:
    from rodflow import artifact, stages

    args = stage.arguments(
        __doc__, settings=stage.JSON, dataset=stage.PATH, discrete=stage.PATH, flow={}
    )
    stage.take_devices(args.settings)
    clock = stage.Clock(args.flow, args.settings["steps"])
    data = stages.flow_run(
        artifact.read(args.dataset, kind="dataset"),
        artifact.read(args.discrete, kind="trajectory"),
        args.flow,
        args.settings,
        clock,
    )
    inputs = {"dataset": args.dataset, "discrete": args.discrete}
    stage.store(
        data, args.output, args, clock, kind="trajectory", settings=args.settings, inputs=inputs
    )


stage.run(main)
