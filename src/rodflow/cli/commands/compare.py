"""Compare two results folders: the same to the last bit, within tolerances, or different.

Trains nothing and writes nothing. The exit status is 0 if they agree within the tolerances and 1 if
not, with a line for each difference on standard output.
"""

import argparse
from pathlib import Path

MANY_CORES = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """The two folders."""
    parser.add_argument("a", type=Path, help="a results folder, such as results/digits")
    parser.add_argument("b", type=Path, help="another one")


def run(args: argparse.Namespace) -> int:
    """Compare them."""
    from rodflow.audit.agreement import agree, as_text

    found = agree(args.a, args.b)
    print(as_text(found))
    return 0 if found.holds else 1
