"""Run again from the discrete run's stored states: its replicas, single iterates, or an onset window at the onset."""

import stage


def main() -> None:
    from rodflow.stages.iterates import iterates
    from rodflow.stages.onset_window import onset_window
    from rodflow.stages.replicas import replicas
    from rodflow.stages.run import prepare
    from rodflow.store import artifact

    args = stage.arguments(
        __doc__,
        settings=stage.JSON,
        dataset=stage.PATH,
        discrete=stage.PATH,
        sharpness=stage.PATH,
        restart=stage.JSON,
        replicas={"type": int},
        output=stage.PATHS,
    )
    stage.take_devices(args.settings)
    dataset = artifact.read(args.dataset, kind="dataset")
    run = prepare(dataset, args.settings)
    clock = stage.Clock("replay", args.settings["steps"])
    scratch = stage.scratch(args, args.output[0], clock)
    how = {"progress": clock, "scratch": scratch}
    with (
        artifact.open_lazily(args.discrete, kind="trajectory") as discrete,
        artifact.open_lazily(args.sharpness, kind="sharpness") as sharpness,
    ):
        for output in args.output:
            clock.restart(output.stem)
            inputs = {"dataset": args.dataset, "discrete": args.discrete}
            own = {}
            if output.stem == "replicas":
                own = {"replicas": args.replicas}
                data = replicas(run, discrete, count=args.replicas, **how)
            else:
                inputs["sharpness"] = args.sharpness
                measured = (run, discrete, sharpness)
                if output.stem == "iterates":
                    own = {"restart": args.restart}
                    data = iterates(*measured, **own, **how)
                else:
                    data = onset_window(*measured, **how)
            settings = args.settings | own
            kept = {"kind": output.stem, "settings": settings, "inputs": inputs}
            stage.store(data, output, args, clock, **kept)
    scratch.remove()


stage.run(main)
