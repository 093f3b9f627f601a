"""Copy figures (PNG), the numbers they show (CSV) and the audit of a finished run to docs/gallery/<name>/.

Files of more than a quarter of a megabyte are compressed, but for pictures; pandas.read_csv opens tables as they are.
`made.json` beside them has the digests of the present code and settings: `make gallery` brings the run up to date
before it calls this, and this alone does not.
"""

import argparse
import gzip
import json
import shutil
from pathlib import Path

from rodflow.config.settings import load, resolve
from rodflow.config.uses import of_experiment
from rodflow.errors import RodflowError
from rodflow.store.files import place_fault

MANY_CORES = False
LARGE = 2**18  # bytes


class GalleryError(RodflowError, RuntimeError):
    """Results that cannot be shown."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The experiment."""
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="the experiment")


def run(args: argparse.Namespace) -> int:
    """Copy them, in place of those that are there."""
    experiment = resolve(load(args.config), args.config.parent)
    results, gallery = Path("results", experiment.name), Path("docs/gallery", experiment.name)
    audits = [results / "audit.md", results / "audit.json"]
    if not all(path.exists() for path in audits):
        raise GalleryError(f"{results}: has no audit; run make reproduce first")
    files = [*results.glob("figures/*.png"), *results.glob("figures/*.csv"), *audits]
    contents = {file: _content(file, results) for file in files}
    shutil.rmtree(gallery, ignore_errors=True)
    gallery.mkdir(parents=True)
    for file, content in contents.items():
        if file.suffix in (".csv", ".json") and len(content) > LARGE:
            (gallery / f"{file.name}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (gallery / file.name).write_bytes(content)
    made = {"config": args.config.as_posix(), "code": of_experiment(experiment)}
    (gallery / "made.json").write_text(json.dumps(made, indent=1) + "\n")
    print(f"{len(files)} files in {gallery}; `rodflow results` writes the pages that quote them")
    return 0


def _content(file: Path, results: Path) -> bytes:
    """What a file of the results holds; a link could bring a file from elsewhere into what is published."""
    if fault := place_fault(results, file.relative_to(results).as_posix()):
        raise GalleryError(f"{file}: {fault}")
    return file.read_bytes()
