"""Print every claim by paper, as Markdown.

Beside each stands what it was tested on in the committed galleries, and the verdict with its range.
"""

import argparse
from pathlib import Path

MANY_CORES = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where the audits are."""
    parser.add_argument(
        "--audits",
        type=Path,
        default=Path("docs/gallery"),
        metavar="FOLDER",
        help="has a folder with audit.json for each experiment, as results has; default: docs/gallery",
    )


def run(args: argparse.Namespace) -> int:
    """Print them."""
    from rodflow.audit.committed import galleries
    from rodflow.audit.pages import claims_by_paper

    found = list(galleries(args.audits))
    outdated = {one.name: one.outdated(Path()) if one.code else [] for one in found}
    print(claims_by_paper(found, outdated), end="")
    return 0
