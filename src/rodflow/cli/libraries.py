"""Variables of the environment by which a library, or a job, would stop, and errors that come from one.

No number depends on them, so they are apart from `rodflow.cli.environment`, on which all results depend: a line more
here makes none of them stale.
"""

import os
from collections.abc import MutableMapping

from rodflow.cli import environment as environment_of_numbers
from rodflow.cli.environment import EnvironmentRefused
from rodflow.cli.jobs import CHECKPOINT
from rodflow.errors import printable

REMOVED = {
    "HDF5_DRIVER": "files are read by HDF5's own driver",
    "MATPLOTLIBRC": "figures have a style of their own",
    "SOURCE_DATE_EPOCH": "figures hold no date",
}
"""Variables that do not hold in a job, and why."""


def prepare(environment: MutableMapping[str, str] = os.environ) -> tuple[str, ...]:
    """Take them out, before matplotlib and HDF5 are loaded.

    Returns:
        A line for each of the user's that does not hold.

    Raises:
        EnvironmentRefused: a variable of ours is not what it has to be.
    """
    pause = environment.get(CHECKPOINT, "0")
    if not _is_number(pause):
        raise EnvironmentRefused(
            f"{CHECKPOINT}={pause}: must be the seconds between two saves, 0 or more; unset it or name some"
        )
    found = {name: environment.pop(name) for name in REMOVED if name in environment}
    return tuple(f"{name}={found[name]} does not hold in a job: {REMOVED[name]}" for name in found)


def prepare_all() -> tuple[str, ...]:
    """The environment of a command, a stage or a call of the workflow: `environment.prepare`, then these.

    Returns:
        A line for each variable of the user's that does not hold.

    Raises:
        EnvironmentRefused: nothing can run in it.
    """
    return *environment_of_numbers.prepare(), *prepare()


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False


def blamed(error: Exception, environment: MutableMapping[str, str] = os.environ) -> str:
    """The line on an error of JAX about a variable of the user's, such as a device that is not here; "" of others."""
    text = " ".join(str(error).split())
    for name, value in environment.items():
        if name.startswith("JAX_") and (name in text or name.lower() in text):
            return printable(f"{name}={value}: {text}; unset it or name another")
    return ""
