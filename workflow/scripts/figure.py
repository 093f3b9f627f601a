"""Draw one figure from stored artifacts: PNG, PDF and the CSV of what was drawn."""

import stage


def main() -> None:
    from rodflow import figures
    from rodflow.figures.style import save
    from rodflow.results import stored_runs

    args = stage.arguments(__doc__, figure={}, model={})
    runs = [run for run in stored_runs(args.root) if args.model in ("", run.model)]
    save(figures.load(args.figure).draw(runs), args.output.with_suffix(""))


stage.run(main)
