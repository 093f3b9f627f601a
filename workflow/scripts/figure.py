"""Draw one figure from stored artifacts: PNG, PDF, the CSV of what was drawn, and the caption."""

import stage


def main() -> None:
    from rodflow.config.catalogue import FIGURES
    from rodflow.figures.core.style import save
    from rodflow.store.results import drawn_from

    args = stage.arguments(__doc__, figure={}, part={}, sources=stage.PATHS)
    drawing = FIGURES.load(args.figure).draw(drawn_from(args.sources))
    caption = FIGURES[args.figure].captioned(args.part, drawing.shows)
    save(drawing, args.output.with_suffix(""), caption)


stage.run(main)
