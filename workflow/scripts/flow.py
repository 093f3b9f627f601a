"""Integrate a flow from the discrete run's states around the start."""

import stage


def main() -> None:
    from rodflow.stages.flow import flow_run
    from rodflow.store import artifact

    args = stage.arguments(
        __doc__, settings=stage.JSON, dataset=stage.PATH, discrete=stage.PATH, flow={}
    )
    stage.take_devices(args.settings)
    clock = stage.Clock(args.flow, args.settings["steps"])
    scratch = stage.scratch(args, args.output, clock)
    dataset = artifact.read(args.dataset, kind="dataset")
    with artifact.open_lazily(args.discrete, kind="trajectory") as discrete:
        data = flow_run(dataset, discrete, args.flow, args.settings, clock, scratch)
    inputs = {"dataset": args.dataset, "discrete": args.discrete}
    stage.store(
        data, args.output, args, clock, kind="trajectory", settings=args.settings, inputs=inputs
    )
    scratch.remove()


stage.run(main)
