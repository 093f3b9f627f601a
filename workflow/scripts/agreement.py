"""Compare two results folders: the same to the last bit, within tolerances, or different.

Trains nothing and writes nothing. The exit status is 0 if they agree within the tolerances and 1 if
not, with a line for each difference on standard output.
"""

import argparse
import sys
from pathlib import Path

import stage


def main() -> None:
    from rodflow.audit.agreement import agree, as_text

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("a", type=Path, help="a results folder, such as results/digits")
    parser.add_argument("b", type=Path, help="another one")
    args = parser.parse_args()
    found = agree(args.a, args.b)
    print(as_text(found))
    if not found.holds:
        sys.exit(1)


stage.run(main)
