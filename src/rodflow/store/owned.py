"""Files and folders of a name that is to be this process's own: whatever else has the name is removed, not followed."""

import errno
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from rodflow.store.files import open_plain


def make_folder(path: Path) -> bool:
    """Have a folder of this name, and say whether something else had to be removed for it."""
    other = os.path.lexists(path) and (path.is_symlink() or not path.is_dir())
    if other:
        path.unlink()
    path.mkdir(parents=True, exist_ok=True)
    return other


def new_file(path: Path) -> BinaryIO:
    """A new file, in place of whatever has its name."""
    if os.path.lexists(path):
        remove(path)
    return path.open("xb")


def changed_file(path: Path) -> BinaryIO:
    """A file that is there, to be read and changed; not what a link leads to, nor what has another name as well.

    Raises:
        OSError: it is one of these or no regular file, it is not there, or it was replaced meanwhile.
    """
    with open_plain(path, own=True) as found:
        there = os.fstat(found.fileno())
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b")
    if not os.path.samestat(there, os.fstat(file.fileno())):
        file.close()
        raise OSError(errno.EBUSY, "it was replaced")
    return file


def remove(path: Path) -> None:
    """Delete what has this name; of a link the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
