"""Running code of one's own: in the jobs that need it, never where a config is only checked.

An error in it is one line with the file, the line and what it says: see `rodflow.config.blame`.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from rodflow.config import blame
from rodflow.config.paths import placed
from rodflow.config.reference import OwnError, digest, reference
from rodflow.config.values import Settings

Code = Callable[..., Any]
"""A function or class of one's own. Any: what it gives is checked by who asks for it."""


def call(
    text: str,
    place: Settings,
    arguments: Mapping[str, object],
    **given: object,
) -> object:
    """What a function or class of one's own gives.

    Args:
        text: the reference, `FILE.py:NAME`.
        place: `folder`, and `code`, the digest of each file: `own` of a run's or a data set's settings.
        arguments: of the config.
        given: what a run fills in where the code takes an argument of this name, see `rodflow.config.own.GIVEN`.

    Raises:
        OwnError: a file has changed since the settings were made from it, or cannot be read, or the code fails.
        PathError: it is in a home folder that there is not.
    """
    own = function(text, place)
    takes = signature(own.__init__ if isinstance(own, type) else own).parameters  # type: ignore[misc]
    known = {name: value for name, value in given.items() if name in takes}
    plain = {name: _plain(value) for name, value in arguments.items()}
    with explained():
        return own(**plain, **known)


def function(text: str, place: Settings) -> Code:
    """The function or class of one's own that a reference names.

    The file is run as a module, once in this process as long as it and what it imports beside it stay the same.

    Args:
        text: the reference, `FILE.py:NAME`.
        place: `folder`, and `code`, the digest of each file, which must be that of the file now.

    Raises:
        OwnError: see `call`; or the text is no reference.
        PathError: see `call`.
    """
    what = reference(text)
    if what is None:
        raise OwnError(f"{text} is no FILE.py:NAME")
    folder = Path(place["folder"])
    path = placed(what.file, folder)
    if (found := digest(folder, what.file)) != place["code"][what.file]:
        raise OwnError(f"{path}: has changed since the settings were made from it; run again")
    module = _module(path.resolve(), found)
    own: Code = getattr(module, what.name)
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
    blame.know(path.parent)
    # A module beside it is that of its own folder and of now, not one of the same name that other code has imported.
    for other in [
        key for key, one in sys.modules.items() if blame.is_own(getattr(one, "__file__", None))
    ]:
        del sys.modules[other]
    sys.modules[name] = module
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
    """Errors of code of one's own within are one line that says where it is.

    Raises:
        OwnError: in place of an error that passed through such code; any other error stays as it is.
    """
    try:
        yield
    except OwnError:
        raise
    except Exception as error:
        if (where := blame.line(error)) is None:
            raise
        raise OwnError(blame.said(error, where)) from error
