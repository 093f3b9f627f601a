"""Write a folder with an experiment of one's own: a config, the code that it names, and a small data set.

It is an example that runs as it is, in `FOLDER` or anywhere else; nothing of rodflow has to be edited for it.
"""

import argparse
from pathlib import Path

from rodflow.errors import RodflowError

MANY_CORES = False
TEMPLATE = Path(__file__).parents[1] / "template"
FILES = ("config.yaml", "problem.py", "README.md")
DATA = "diabetes.npz"


class NewError(RodflowError, RuntimeError):
    """A folder that cannot be written: one line with the place and why."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where."""
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="is made; has to be new or empty"
    )


def run(args: argparse.Namespace) -> int:
    """Write it, and say how to go on."""
    folder: Path = args.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise NewError(f"{folder}: is not empty; name a new folder")
        for name in FILES:
            (folder / name).write_text(
                (TEMPLATE / name).read_text(encoding="utf-8"), encoding="utf-8"
            )
        _write_data(folder / DATA)
    except OSError as error:
        raise NewError(f"{folder}: {error.strerror}; name another folder") from error
    print(f"{folder}: {', '.join((*FILES, DATA))}\nnext: rodflow run {folder / 'config.yaml'}")
    return 0


def _write_data(path: Path) -> None:
    """scikit-learn's diabetes data, inputs and targets of mean 0 and variance 1."""
    import numpy as np
    from sklearn.datasets import load_diabetes

    inputs, targets = load_diabetes(return_X_y=True)
    standard = {
        name: ((values - values.mean(0)) / values.std(0)).astype(np.float32)
        for name, values in (("inputs", inputs), ("targets", targets))
    }
    np.savez(path, **standard)
