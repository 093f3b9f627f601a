"""Folders of the user alone: locks of this machine's parts, and compiled programs.

Compiled programs are native code: whoever may write to their folder runs code as everyone who uses it. The default
folder is therefore used only while nobody else can write to it. A folder that `RODFLOW_CACHE` names is used as it is,
with a warning where others can write to it.
"""

import errno
import os
import re
import stat
import tempfile
import traceback
from collections.abc import MutableMapping
from pathlib import Path

from rodflow.config.paths import PathError, placed


def private(folder: Path) -> str:
    """Make a folder that only this user can write to, or say why it is none.

    Returns:
        What is wrong with it, "" if it is private now.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        return f"cannot be made: {error.strerror or error}"
    if not stat.S_ISDIR(found.st_mode):
        return "is no folder"
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        return "belongs to another user"
    if found.st_mode & 0o022:
        return "can be written by others"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "cannot be written"


def of_locks() -> Path | None:
    """The folder for the locks of this machine's cores and devices; None where there is no private one."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    chosen = [Path(tempfile.gettempdir(), f"rodflow-{user}")]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        chosen.insert(0, Path(runtime, "rodflow"))
    return next((folder for folder in chosen if not private(folder)), None)


def keep_programs(environment: MutableMapping[str, str] = os.environ) -> tuple[str, ...]:
    """Tell JAX where to keep compiled programs, if there is a folder for them.

    Returns:
        Lines about a folder that is not as it should be.
    """
    if "JAX_COMPILATION_CACHE_DIR" in environment:
        return ()
    try:
        return _told(environment)
    except PathError as error:
        return (f"warning: {error}; compiled programs are not kept",)


def _told(environment: MutableMapping[str, str]) -> tuple[str, ...]:
    """See `keep_programs`.

    Raises:
        PathError: the folder is in a home folder that there is not.
    """
    remedy = "name a private folder in RODFLOW_CACHE or XDG_CACHE_HOME"
    if given := environment.get("RODFLOW_CACHE"):
        folder = placed(given, key="RODFLOW_CACHE") / "jax"
        fault = private(folder.parent) or private(folder)
        if "cannot" in fault or "no folder" in fault:
            return (
                f"warning: RODFLOW_CACHE: {folder} {fault}, so compiled programs are not kept; {remedy}",
            )
        environment["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        if fault:
            return (
                f"warning: RODFLOW_CACHE: {given} {fault}; compiled programs are native code, "
                "and whoever writes there runs code as you",
            )
        return ()
    folder = _cache(environment) / "rodflow/jax"
    if fault := private(folder.parent) or private(folder):
        return (f"warning: {folder} {fault}, so compiled programs are not kept; {remedy}",)
    environment["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    return ()


_WALKS = re.compile(r"\b(os|posixpath|shutil)(\.py|>)$")


def nested(error: Exception) -> str:
    """The line on an error that comes of folders within folders without end, as a stranger may pack them, else ""."""
    innermost = [frame.filename for frame in traceback.extract_tb(error.__traceback__)[-1:]]
    deep = isinstance(error, RecursionError) and any(map(_WALKS.search, innermost))
    if not deep and getattr(error, "errno", None) != errno.ENAMETOOLONG:
        return ""
    return "there are folders that are nested too deeply to be read; delete them"


def _cache(environment: MutableMapping[str, str]) -> Path:
    return placed(environment.get("XDG_CACHE_HOME") or "~/.cache", key="XDG_CACHE_HOME")
