"""Draw one figure from stored artifacts: PNG, PDF and the CSV of what was drawn."""

import stage


def main() -> None:
    from rodflow import figures
    from rodflow.figures.style import save
    from rodflow.results import StoredRun

    args = stage.arguments(__doc__, figure={}, runs=stage.PATHS)
    runs = [StoredRun(folder) for folder in args.runs]
    save(figures.load(args.figure).draw(runs), args.output.with_suffix(""))


stage.run(main)
