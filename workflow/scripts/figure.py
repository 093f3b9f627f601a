"""Draw one figure from stored artifacts: PNG, PDF and the CSV of what was drawn."""

import stage


def main() -> None:
    from rodflow.config.catalogue import FIGURES
    from rodflow.figures.core.style import save
    from rodflow.store.results import drawn_from

    args = stage.arguments(__doc__, figure={}, sources=stage.PATHS)
    drawing = FIGURES.load(args.figure).draw(drawn_from(args.sources))
    save(drawing, args.output.with_suffix(""))


stage.run(main)
