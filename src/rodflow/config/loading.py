"""Running code of one's own: in the jobs that need it, never where a config is only checked.

An error in it is one line with the file, the line and what it says: see `place`.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from inspect import signature
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from rodflow.config.reference import OwnError, digest, reference
from rodflow.config.values import Settings
from rodflow.errors import RodflowError

_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDERS: set[Path] = set()
"""Where code of one's own was loaded from, in this process."""


def call(
    text: str,
    place: Settings,
    arguments: Mapping[str, object],
    **given: object,
) -> Any:
    """What a function or class of one's own gives.

    Args:
        text: the reference, `FILE.py:NAME`.
        place: `folder`, and `code`, the digest of each file: `own` of a run's or a data set's settings.
        arguments: of the config.
        given: what a run fills in where the code takes an argument of this name, see `rodflow.config.own.GIVEN`.

    Raises:
        OwnError: the file is another one than when the call began, or the code fails.
    """
    own = function(text, place)
    takes = signature(own.__init__ if isinstance(own, type) else own).parameters  # type: ignore[misc]
    known = {name: value for name, value in given.items() if name in takes}
    plain = {name: _plain(value) for name, value in arguments.items()}
    with explained():
        return own(**plain, **known)


def function(text: str, place: Settings) -> Callable[..., Any]:
    """The function or class of one's own that a reference names.

    Raises:
        OwnError: see `call`.
    """
    what = reference(text)
    if what is None:
        raise OwnError(f"{text} is no FILE.py:NAME")
    folder = Path(place["folder"])
    if (found := digest(folder, what.file)) != place["code"][what.file]:
        raise OwnError(
            f"{folder / what.file}: has changed since the settings were made from it; run again"
        )
    module = _module((folder / what.file).resolve(), found)
    own: Callable[..., Any] = getattr(module, what.name)
    return own


def _plain(value: object) -> object:
    """A list as a tuple, which has a hash."""
    return tuple(map(_plain, value)) if isinstance(value, list) else value


@cache
def _module(path: Path, found: str) -> ModuleType:
    name = f"own_{hashlib.sha256(f'{path} {found}'.encode()).hexdigest()[:12]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise OwnError(f"{path}: cannot be loaded as a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _FOLDERS.add(path.parent)
    sys.path.insert(0, str(path.parent))  # as for a script; the files beside it come first
    try:
        with explained():
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


# Errors


@contextmanager
def explained() -> Iterator[None]:
    """Errors of code of one's own within are one line that says where it is."""
    try:
        yield
    except OwnError:
        raise
    except Exception as error:
        if (where := place(error)) is None:
            raise
        raise OwnError(f"{where}: {words(error)}") from error


def place(error: BaseException) -> str | None:
    """The innermost line of code of one's own that an error passed through, as FILE:LINE; None where it did not."""
    seen: BaseException | None = error
    found = None
    while seen is not None:
        found = _line(seen.__traceback__) or found
        if isinstance(seen, SyntaxError) and seen.filename and _of_ones_own(seen.filename):
            found = f"{_short(seen.filename)}:{seen.lineno}"
        seen = seen.__cause__ or seen.__context__
    return found


def _line(trace: TracebackType | None) -> str | None:
    found = None
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if _of_ones_own(name):
            found = f"{_short(name)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _of_ones_own(name: str) -> bool:
    path = Path(name)
    if "site-packages" in path.parts or _PACKAGE in path.parents:
        return False
    return any(folder in path.parents for folder in _FOLDERS)


def _short(name: str) -> str:
    path = Path(name)
    here = Path.cwd()
    return str(path.relative_to(here)) if here in path.parents else name


def said(error: BaseException, where: str | None) -> str:
    """What an error says in one line, and before that where in code of one's own it arose."""
    text = str(error) if isinstance(error, RodflowError) else words(error)
    return text if where is None or where in text else f"{where}: {text}"


def words(error: BaseException) -> str:
    """What an error says, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:400]}" if text else type(error).__name__
