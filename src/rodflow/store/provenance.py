"""What made a file: the versions of packages and the revision of the code."""

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "rodflow jax jaxlib flax optax diffrax equinox numpy xarray h5netcdf h5py netcdf4".split()
)


@functools.cache
def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that numbers depend on; None where not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


@functools.cache
def code_revision(source: Path = Path(__file__)) -> str:
    """Git revision of the tree that a source file is tracked in.

    Ends in "-dirty" where tracked files differ from that revision; "unknown" where the file is not
    tracked (an installed copy) or there is no git.
    """
    # A hook of some other repository may be what runs us.
    hooks = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    environment = {k: v for k, v in os.environ.items() if k not in hooks}
    answer = ""
    for arguments in (
        ["ls-files", "--error-unmatch", source.name],
        ["describe", "--always", "--dirty", "--abbrev=64", "--exclude=*"],
    ):
        command = ["git", "--no-optional-locks", "-C", str(source.parent), *arguments]
        try:
            answer = subprocess.run(
                command, capture_output=True, text=True, timeout=10, check=True, env=environment
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return "unknown"
    return answer
