"""Draw one figure from stored artifacts: PNG, PDF and the CSV of what was drawn."""

from collections.abc import Mapping

from rodflow.cli.jobs import PATH, PATHS, Job, Option

OPTIONS: Mapping[str, Option] = {"figure": {"metavar": "NAME"}, "sources": PATHS, "output": PATH}
COMPUTES = False


def run(job: Job) -> None:
    """Store the figure beside its output, under each suffix."""
    from rodflow.config.catalogue import FIGURES
    from rodflow.figures.core.style import save
    from rodflow.store.results import drawn_from

    args = job.args
    drawing = FIGURES.load(args.figure).draw(drawn_from(args.sources))
    save(drawing, args.output.with_suffix(""))
