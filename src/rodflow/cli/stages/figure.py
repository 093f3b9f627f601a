"""Draw one figure from stored artifacts: PNG, PDF, the CSV of what was drawn, and the caption."""

from collections.abc import Mapping

from rodflow.cli.jobs import PATH, PATHS, Job, Option

OPTIONS: Mapping[str, Option] = {
    "figure": {"metavar": "NAME"},
    "part": {"metavar": "NAME"},
    "sources": PATHS,
    "output": PATH,
}
COMPUTES = False


def run(job: Job) -> None:
    """Store the figure beside its output, under each suffix."""
    from rodflow.config.catalogue import FIGURES
    from rodflow.figures.core.style import save
    from rodflow.store.results import drawn_from

    args = job.args
    drawing = FIGURES.load(args.figure).draw(drawn_from(args.sources))
    caption = FIGURES[args.figure].captioned(args.part, drawing.shows)
    save(drawing, args.output.with_suffix(""), caption)
