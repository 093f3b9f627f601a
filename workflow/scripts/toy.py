"""Toy potentials: growth rates, two-cycles and a trajectory, of the discrete run and the flows."""

import stage


def main() -> None:
    import jax

    from rodflow.stages import toy
    from rodflow.store import artifact

    args = stage.arguments(__doc__)
    stage.take_devices({})
    clock = stage.Clock("toy", 0)
    data = toy.toy_dataset()
    artifact.write(
        data,
        args.output,
        kind="toy",
        root=args.root,
        settings={},
        inputs={},
        wall_time=clock.elapsed,
        device=jax.devices()[0].device_kind,
    )


stage.run(main)
