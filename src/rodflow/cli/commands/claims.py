"""Print every claim by paper, as Markdown.

Beside each stands what it was tested on in the committed galleries of the present code, the verdict with its range, and
the likeliest cause where it is not reproduced. `rodflow results` writes the same to docs/claims.md.
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
    from rodflow.audit.committed import asking, galleries
    from rodflow.audit.pages import claims_by_paper

    found = galleries(args.audits)
    current = [one for one in found if not one.code or not one.outdated(Path())]
    print(claims_by_paper(current, asking(Path())), end="")
    return 0
