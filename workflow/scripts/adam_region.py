"""The decays with which updates of Adam are bounded: along a path through the region and out of it."""

import stage


def main() -> None:
    import jax

    from rodflow.stages.adam_region import TRAINING, adam_region
    from rodflow.store import artifact

    args = stage.arguments(__doc__, dataset=stage.PATH)
    stage.take_devices({})
    clock = stage.Clock("adam_region", 0)
    data = adam_region(artifact.read(args.dataset, kind="dataset"))
    artifact.write(
        data,
        args.output,
        kind="adam_region",
        root=args.root,
        settings=dict(TRAINING),
        inputs={"dataset": args.dataset},
        wall_time=clock.elapsed,
        device=jax.devices()[0].device_kind,
    )


stage.run(main)
