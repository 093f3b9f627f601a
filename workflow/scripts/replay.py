"""Run again from the discrete run's stored states: its twins, single iterates, or a close look at the onset."""

import stage


def main() -> None:
    from rodflow import artifact, replay

    args = stage.arguments(
        __doc__,
        settings=stage.JSON,
        dataset=stage.PATH,
        discrete=stage.PATH,
        sharpness=stage.PATH,
        restart=stage.JSON,
        twins={"type": int},
        output=stage.PATHS,
    )
    stage.take_devices(args.settings)
    dataset = artifact.read(args.dataset, kind="dataset")
    discrete = artifact.read(args.discrete, kind="trajectory")
    sharpness = artifact.read(args.sharpness, kind="sharpness")
    for output in args.output:
        clock = stage.Clock(output.stem, args.settings["steps"])
        inputs = {"dataset": args.dataset, "discrete": args.discrete}
        own = {}
        if output.stem == "twins":
            own = {"twins": args.twins}
            data = replay.twins(dataset, discrete, args.settings, count=args.twins, progress=clock)
        else:
            inputs["sharpness"] = args.sharpness
            measured = (dataset, discrete, sharpness, args.settings)
            if output.stem == "iterates":
                own = {"restart": args.restart}
                data = replay.iterates(*measured, **own, progress=clock)
            else:
                data = replay.closeup(*measured, progress=clock)
        settings = args.settings | own
        stage.store(data, output, args, clock, kind=output.stem, settings=settings, inputs=inputs)


stage.run(main)
