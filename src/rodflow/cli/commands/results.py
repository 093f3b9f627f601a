"""Write the pages that quote the committed galleries: docs/results.md, docs/claims.md, their index, README's table.

A gallery is quoted if the code and the settings that made it are the present ones. With --check nothing is written, and
the exit status is 1 if a page says something else.
"""

import argparse
from pathlib import Path

MANY_CORES = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where the repository is, and whether to write."""
    parser.add_argument("--root", type=Path, default=Path(), help="the repository; default: here")
    parser.add_argument("--check", action="store_true", help="write nothing")


def run(args: argparse.Namespace) -> int:
    """Write them, and name each."""
    from rodflow.store.files import write_bytes

    status = 0
    for path, text in pages(args.root).items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if args.check:
            print(f"{path}: is not what `rodflow results` writes")
            status = 1
        else:
            write_bytes(path, text.encode())
            print(path)
    return status


def pages(root: Path) -> dict[Path, str]:
    """Path -> what it should say."""
    from rodflow.audit.committed import asking, galleries
    from rodflow.audit.pages import claims_by_paper, index, results, with_table

    found = list(galleries(root / "docs/gallery"))
    outdated = {one.name: one.outdated(root) for one in found}
    current = [one for one in found if not outdated[one.name]]
    readme = root / "README.md"
    return {
        root / "docs/gallery/README.md": index(found, outdated),
        root / "docs/results.md": results(found, [one.name for one in current]),
        root / "docs/claims.md": claims_by_paper(current, asking(root)),
        readme: with_table(readme.read_text(encoding="utf-8"), current),
    }
