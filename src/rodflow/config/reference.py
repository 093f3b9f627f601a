"""References to code of one's own, `FILE.py:NAME`, and what tells one state of such files from another."""

import ast
import hashlib
import re
import stat
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rodflow.config.code import code_of
from rodflow.config.paths import placed
from rodflow.errors import RodflowError

_FORM = re.compile(r"([^:\s]+\.py):([A-Za-z_]\w*)")


class OwnError(RodflowError, ValueError):
    """Code or a file of the user's that cannot be used as it is: one line with what, why and the remedy."""


class Reference(NamedTuple):
    """What `python:` names: a file relative to the config's folder, and what is meant in it."""

    file: str
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"


def reference(text: object) -> Reference | None:
    """The reference that a text is; None if it is none."""
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    return Reference(found[1], found[2]) if found else None


def is_own(name: object) -> bool:
    """Whether a name of an optimizer, a model, a data set or a criterion is a reference to code of one's own."""
    return reference(name) is not None


def digest(folder: Path, file: str) -> str:
    """SHA-256, in hexadecimal, of the code of a file and of those beside it that it imports.

    Comments and docstrings do not count.

    Args:
        folder: of the config.
        file: relative to the folder, or with a leading `~`.

    Raises:
        OwnError: a file cannot be read, or is no Python.
        PathError: it is in a home folder that there is not.
    """
    waiting, found = [file], dict[str, str]()
    while waiting:
        here = waiting.pop()
        if here not in found:
            path = placed(here, folder)
            parsed(path)  # which says what is wrong with it
            found[here] = code_of(path.read_bytes())
            beside = Path(here).parent
            waiting += [
                (beside / near).as_posix()
                for module in _imports(path)
                for near in (f"{module}.py", f"{module}/__init__.py")
                if (path.parent / near).is_file()
            ]
    parts = [f"{name} {found[name]}" for name in sorted(found)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def file_digest(folder: Path, file: str | Path) -> str:
    """SHA-256, in hexadecimal, of a file, or of the names and contents of all files of a folder.

    Args:
        folder: of the config.
        file: relative to the folder, or with a leading `~`.

    Raises:
        OwnError: it is not there, cannot be read, or is a pipe or a device.
        PathError: it is in a home folder that there is not.
    """
    path = placed(file, folder)
    try:
        if not path.is_dir():
            _demand_regular(path)
            with path.open("rb") as content:
                return hashlib.file_digest(content, "sha256").hexdigest()
        inner = sorted(one for one in path.rglob("*") if one.is_file())
        parts = [f"{one.relative_to(path).as_posix()} {file_digest(Path(), one)}" for one in inner]
    except OSError as error:
        raise OwnError(f"{path}: {error.strerror}; give a path relative to the config") from error
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# What a file says


def _demand_regular(path: Path) -> None:
    """A pipe or a device is never read: it may give no end.

    Raises:
        OwnError: it is one.
        OSError: there is nothing.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OwnError(f"{path}: is no regular file; give a path relative to the config, of a file")


def parsed(path: Path) -> ast.Module:
    """The syntax of a file.

    Raises:
        OwnError: it cannot be read, or is no Python.
    """
    try:
        _demand_regular(path)
        state = path.stat()
        return _parsed(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise OwnError(
            f"{path}: {error.strerror}; give a path relative to the config, and a colon"
        ) from error
    except SyntaxError as error:
        raise OwnError(f"{path}:{error.lineno}: {error.msg}") from error
    except ValueError as error:
        raise OwnError(f"{path}: is no Python: {error}") from error


@cache
def _parsed(path: Path, changed: int, size: int) -> ast.Module:
    return ast.parse(path.read_bytes())


def _imports(path: Path) -> list[str]:
    """The modules that a file imports, as paths without suffix."""
    names = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{one.name}" for one in node.names]
    return [name.replace(".", "/") for name in names]
