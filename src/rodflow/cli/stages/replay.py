"""Run again from the discrete run's stored states: its replicas, single iterates, or a window at the onset."""

from collections.abc import Mapping
from importlib import import_module

from rodflow.cli.jobs import JSON, PATH, PATHS, Job, Option
from rodflow.errors import RodflowError

OPTIONS: Mapping[str, Option] = {
    "settings": JSON,
    "dataset": PATH,
    "discrete": PATH,
    "sharpness": PATH,
    "restart": JSON,
    "replicas": {"type": int, "metavar": "N"},
    "output": PATHS,
}
COMPUTES = True
KINDS = ("replicas", "iterates", "onset_window")
"""Each is a function in a module of its name, which is loaded by that, so that a job depends on those that it makes."""


class ReplayError(RodflowError, ValueError):
    """An output that is no kind of replay."""


def run(job: Job) -> None:
    """Make each output, which its name says the kind of."""
    from rodflow.stages.run import prepare
    from rodflow.store import artifact

    args = job.args
    run = prepare(artifact.read(args.dataset, kind="dataset"), args.settings)
    scratch = job.scratch(args.output[0])
    with (
        artifact.open_lazily(args.discrete, kind="trajectory") as discrete,
        artifact.open_lazily(args.sharpness, kind="sharpness") as sharpness,
    ):
        for output in args.output:
            kind = output.stem
            if kind not in KINDS:
                raise ReplayError(
                    f"--output {output}: must be named after one of {', '.join(KINDS)}"
                )
            make = getattr(import_module(f"rodflow.stages.{kind}"), kind)
            job.clock.restart(kind)
            inputs = {"dataset": args.dataset, "discrete": args.discrete}
            own: dict[str, int | None] = {}
            measured, how = [run, discrete], {"progress": job.clock, "scratch": scratch}
            if kind == "replicas":
                own["replicas"] = how["count"] = args.replicas
            else:
                inputs["sharpness"] = args.sharpness
                measured.append(sharpness)
            if kind == "iterates":
                own["restart"] = how["restart"] = args.restart
            data = make(*measured, **how)
            job.store(data, output, kind=kind, settings=args.settings | own, inputs=inputs)
    scratch.remove()
