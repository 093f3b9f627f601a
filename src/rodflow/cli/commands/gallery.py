"""Copy figures (PNG), the numbers they show (CSV) and the audit of a finished run to docs/gallery/<name>/.

Tables of more than a quarter of a megabyte are compressed; pandas.read_csv opens them as they are.
"""

import argparse
import gzip
import shutil
from pathlib import Path

from rodflow.config.settings import load, resolve
from rodflow.errors import RodflowError

MANY_CORES = False
LARGE = 2**18  # bytes


class GalleryError(RodflowError, RuntimeError):
    """Results that cannot be shown."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The experiment."""
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="the experiment")


def run(args: argparse.Namespace) -> int:
    """Copy them, in place of those that are there."""
    name = resolve(load(args.config), args.config.parent).name
    results, gallery = Path("results", name), Path("docs/gallery", name)
    files = [*results.glob("figures/*.png"), *results.glob("figures/*.csv"), results / "audit.md"]
    if not (results / "audit.md").exists():
        raise GalleryError(f"{results}: has no audit; run make reproduce first")
    shutil.rmtree(gallery, ignore_errors=True)
    gallery.mkdir(parents=True)
    for file in files:
        content = file.read_bytes()
        if file.suffix == ".csv" and len(content) > LARGE:
            (gallery / f"{file.name}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (gallery / file.name).write_bytes(content)
    print(f"{len(files)} files in {gallery}")
    return 0
