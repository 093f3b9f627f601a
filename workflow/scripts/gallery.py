"""Copy figures (PNG), the numbers they show (CSV) and the audit of a finished run to docs/gallery/<name>/."""

import argparse
import shutil
import sys
from pathlib import Path

from rodflow.settings import load, resolve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    name = resolve(load(parser.parse_args().config)).name
    results, gallery = Path("results", name), Path("docs/gallery", name)
    files = [*results.glob("figures/*.png"), *results.glob("figures/*.csv"), results / "audit.md"]
    if not (results / "audit.md").exists():
        sys.exit(f"{results} has no audit: run make reproduce first")
    gallery.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, gallery / file.name)
    print(f"{len(files)} files in {gallery}")


main()
