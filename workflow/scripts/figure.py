"""Draw one figure from stored artifacts: PNG, PDF and the CSV of what was drawn."""

import stage


def main() -> None:
    from rodflow import figures
    from rodflow.figures.style import save
    from rodflow.results import StoredRun, ordered

    args = stage.arguments(__doc__, figure={}, runs=stage.PATHS)
    runs = ordered(StoredRun(folder) for folder in args.runs)
    save(figures.load(args.figure).draw(runs), args.output.with_suffix(""))


stage.run(main)
