"""Run again from the discrete run's stored states: its twins, single iterates, or a close look at the onset."""

import stage

stage.single_threaded()
stage.compilation_cache()


def main() -> None:
    import jax

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
    inputs = {"dataset": args.dataset, "discrete": args.discrete}
    dataset = artifact.read(args.dataset, kind="dataset")
    discrete = artifact.read(args.discrete, kind="trajectory")
    for output in args.output:
        kind = output.stem
        clock = stage.Clock(kind, args.settings["steps"])
        settings, sources = dict(args.settings), dict(inputs)
        if kind == "twins":
            settings["twins"] = args.twins
            data = replay.twins(dataset, discrete, args.settings, count=args.twins, progress=clock)
        else:
            sources["sharpness"] = args.sharpness
            sharpness = artifact.read(args.sharpness, kind="sharpness")
            if kind == "iterates":
                settings["restart"] = args.restart
                data = replay.iterates(
                    dataset,
                    discrete,
                    sharpness,
                    args.settings,
                    restart=args.restart,
                    progress=clock,
                )
            else:
                data = replay.closeup(dataset, discrete, sharpness, args.settings, progress=clock)
        artifact.write(
            data,
            output,
            kind=kind,
            root=args.root,
            settings=settings,
            inputs=sources,
            wall_time=clock.elapsed,
            status=data.attrs["status"],
            device=jax.devices()[0].device_kind,
        )


stage.run(main)
