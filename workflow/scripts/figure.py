"""Draw one figure from stored artifacts: PNG, PDF and the CSV of what was drawn."""

import stage


def main() -> None:
    from rodflow import figures
    from rodflow.figures.style import save
    from rodflow.results import drawn_from

    args = stage.arguments(__doc__, figure={}, sources=stage.PATHS)
    drawing = figures.load(args.figure).draw(drawn_from(args.sources))
    save(drawing, args.output.with_suffix(""))


stage.run(main)
