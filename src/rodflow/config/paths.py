"""Where a path is that a user gives: in a config, in a variable of the environment, or to the library.

    placed("~/arrays.npz", folder)  # in the home folder
    placed("arrays.npz", folder)    # beside the config, which is in that folder

A shell puts a home folder in place of `~` only where a word begins with it, and no shell sees a config. So it is done
here, for all of them.
"""

import os
from pathlib import Path

from rodflow.errors import RodflowError


class PathError(RodflowError, ValueError):
    """A path in a home folder that there is not: one line with the remedy."""


def placed(given: str | os.PathLike[str], folder: str | Path = "", *, key: str = "") -> Path:
    """Where a path is.

    Args:
        given: as the user wrote it. A leading `~` is the user's home folder, `~name` that of another user.
        folder: what it is relative to; "": the working folder.
        key: of the config, or the variable or argument, which gives it, where nobody else names it in an error.

    Raises:
        PathError: it begins with `~`, and no such home folder is known.
    """
    if not os.fspath(given).startswith("~"):  # as in ./~, a folder of that name
        return Path(folder, given)
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        home, text = Path(given).parts[0], f"{key} is {os.fspath(given)}; " if key else ""
        whose = "of no user" if home != "~" else "not known, as HOME is not set"
        raise PathError(f"{text}the home folder {home} is {whose}; write the whole path") from error
