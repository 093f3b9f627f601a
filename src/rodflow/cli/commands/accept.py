"""Take a results folder as it is, although files in it are not those of its manifest: list them anew.

It names what it accepts. Do this only if you trust what is there, such as a folder that an earlier version made; what
is deleted instead is made again.
"""

import argparse
from pathlib import Path

MANY_CORES = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which folder."""
    parser.add_argument("root", type=Path, help="the results folder, such as results/digits")


def run(args: argparse.Namespace) -> int:
    """Name what is accepted, and write the manifest."""
    from rodflow.store.manifest import altered, write_manifest

    for problem in altered(args.root):
        print(f"{args.root}/{problem}")
    print(write_manifest(args.root, accept=True))
    return 0
