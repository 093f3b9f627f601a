"""Run again from the discrete run's stored states: its replicas, single iterates, or a onset window at the onset."""

import stage


def main() -> None:
    from rodflow.stages import replay
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
                data = replay.replicas(dataset, discrete, args.settings, count=args.replicas, **how)
            else:
                inputs["sharpness"] = args.sharpness
                measured = (dataset, discrete, sharpness, args.settings)
                if output.stem == "iterates":
                    own = {"restart": args.restart}
                    data = replay.iterates(*measured, **own, **how)
                else:
                    data = replay.onset_window(*measured, **how)
            settings = args.settings | own
            kept = {"kind": output.stem, "settings": settings, "inputs": inputs}
            stage.store(data, output, args, clock, **kept)
    scratch.remove()


stage.run(main)
