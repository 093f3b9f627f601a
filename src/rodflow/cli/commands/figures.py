"""Draw figures of stored results again, into any folder: PNG, PDF and the CSV of what was drawn.

Trains nothing. The workflow's own figures, in the folder of the results, are `make figures`.
"""

import argparse
from pathlib import Path

from rodflow.config import plan
from rodflow.config.catalogue import FIGURES
from rodflow.config.settings import load, resolve
from rodflow.errors import RodflowError

MANY_CORES = False


class FigureNotPlanned(RodflowError, ValueError):
    """A figure that the config does not draw: one line with those that it does."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which figures, of which results, into which folder."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of the config's")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="the experiment")
    parser.add_argument("--root", type=Path, help="default: results/<name in the config>")
    parser.add_argument("--output", type=Path, default=Path("figures"), help="default: figures")


def run(args: argparse.Namespace) -> int:
    """Draw them, and name each file."""
    from rodflow.figures.core.style import save
    from rodflow.store.results import drawn_from

    experiment = resolve(load(args.config), args.config.parent)
    root = args.root or Path("results") / experiment.name
    planned = {Path(figure.stem).name: figure for figure in plan.figures(experiment)}
    wanted = args.names or [*planned]
    for name in wanted:
        chosen = [stem for stem, figure in planned.items() if name in (stem, figure.name)]
        if not chosen:
            known = ", ".join(planned) or "none"
            raise FigureNotPlanned(
                f"figure {name}: {args.config} does not draw it; it draws {known}"
            )
        for stem in chosen:
            sources = [root / path for path in planned[stem].drawn_from]
            save(FIGURES.load(planned[stem].name).draw(drawn_from(sources)), args.output / stem)
            print(args.output / f"{stem}.png")
    return 0
