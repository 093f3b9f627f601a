"""What of the user's environment a job takes, overrides or refuses.

`TABLE` decides it once, for every stage and command. A job's numbers must not depend on what a shell happens to
export, and where they may, the artifact records it:

    notes = prepare()  # before JAX, matplotlib and HDF5 are loaded
    data.attrs["environment"] = recorded()
"""

import codecs
import io
import json
import os
import subprocess
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from rodflow.errors import RodflowError


class EnvironmentRefused(RodflowError, RuntimeError):
    """A variable of the environment with which no job can run: one line with its name, the fault and the remedy."""


Action = Literal["takes", "adds", "defaults", "sets", "removes"]


@dataclass(frozen=True)
class Variable:
    """What happens to some variables.

    Attributes:
        name: a name, or a pattern such as `JAX_*`.
        action: "takes": it stays as the user has it; "adds": the value goes before the user's words, which win;
            "defaults": the value holds where the user has none; "sets": the value holds; "removes": the program's own
            default holds.
        why: the reason, for people.
        value: of those that add, default or set.
        counts: whether numbers may depend on it, so that artifacts record it.
    """

    name: str
    action: Action
    why: str
    value: str = ""
    counts: bool = False


TABLE: tuple[Variable, ...] = (
    Variable("JAX_PLATFORMS", "takes", "it chooses the devices", counts=True),
    Variable("JAX_NUM_CPU_DEVICES", "takes", "it divides the processor", counts=True),
    Variable("JAX_COMPILATION_CACHE_*", "takes", "it says where compiled programs are kept"),
    Variable("JAX_ENABLE_COMPILATION_CACHE", "takes", "it says whether they are kept"),
    Variable(
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
        "defaults",
        "a second call should compile nothing",
        "0",
    ),
    Variable("JAX_PERSISTENT_CACHE_*", "takes", "it says which of them are kept"),
    Variable("JAX_LOG_COMPILES", "takes", "it only prints"),
    Variable("JAX_TRACEBACK_FILTERING", "takes", "it only prints"),
    Variable("JAX_*", "removes", "results are in single precision and of JAX's own defaults"),
    Variable("EQX_ON_ERROR", "sets", "a solver's error is NaN and ends a run as diverged", "nan"),
    Variable("EQX_*", "removes", "it would put callbacks into programs"),
    Variable("NVIDIA_TF32_OVERRIDE", "removes", "products are of full single precision"),
    Variable(
        "XLA_FLAGS",
        "adds",
        "jobs of one thread side by side beat one job of many threads",
        "--xla_cpu_multi_thread_eigen=false",
        counts=True,
    ),
    Variable("NPROC", "defaults", "XLA uses one thread", "1", counts=True),
    Variable("OMP_NUM_THREADS", "defaults", "so do the libraries below NumPy", "1", counts=True),
    Variable("OPENBLAS_NUM_THREADS", "defaults", "and this one", "1", counts=True),
    Variable("MKL_NUM_THREADS", "defaults", "and this one", "1", counts=True),
    Variable(
        "MPLBACKEND", "sets", "figures are files, and a notebook's backend is not here", "agg"
    ),
    Variable(
        "HDF5_USE_FILE_LOCKING",
        "defaults",
        "files appear whole by a rename, and some file systems have no locks",
        "FALSE",
    ),
    Variable("PYTHONUTF8", "sets", "texts are UTF-8 in every locale", "1"),
)
"""The first line that a variable fits decides; of others nothing is known, and they stay as they are."""


_KNOWN_FLAGS = "RODFLOW_XLA_FLAGS"
"""The environment variable with flags that XLA is known to know."""


def rule(name: str) -> Variable | None:
    """The line of the table that decides about a variable."""
    return next((one for one in TABLE if fnmatchcase(name, one.name)), None)


def prepare(environment: MutableMapping[str, str] = os.environ) -> tuple[str, ...]:
    """Make the environment what the table says; to be called before JAX, matplotlib and HDF5 are loaded.

    Returns:
        A line for each variable of the user's that does not hold.

    Raises:
        EnvironmentRefused: XLA does not know a flag.
    """
    given = dict(environment)
    notes = []
    if given.get("XLA_FLAGS", "") not in ("", given.get(_KNOWN_FLAGS)):
        refuse_unknown_flags(given["XLA_FLAGS"])
    for name in sorted(given):
        decided = rule(name)
        if decided is None or decided.action not in ("sets", "removes"):
            continue
        held = given[name] == decided.value and decided.action == "sets"
        if not held:
            notes.append(f"{name}={given[name]} does not hold in a job: {decided.why}")
        if decided.action == "removes":
            del environment[name]
    for one in TABLE:
        users = given.get(one.name, "")
        if one.action == "sets" or (one.action == "defaults" and one.name not in given):
            environment[one.name] = one.value
        elif one.action == "adds" and one.value not in users:
            environment[one.name] = f"{one.value} {users}".strip()
    environment[_KNOWN_FLAGS] = environment[
        "XLA_FLAGS"
    ]  # the jobs of a workflow need not try again
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    return tuple(notes)


def recorded(environment: MutableMapping[str, str] = os.environ) -> str:
    """What numbers may depend on, as canonical JSON for an artifact's attribute: name -> value."""
    found = {
        name: value
        for name, value in environment.items()
        if (decided := rule(name)) is not None and decided.counts
    }
    return json.dumps(found, sort_keys=True)


def full_precision() -> None:
    """Let matrix products on a GPU be of full single precision, where it would round their factors to ten bits."""
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")


def stay_on_the_cpu() -> None:
    """Use no GPU, for work that is not worth one."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    if jax := sys.modules.get("jax"):  # which has read its environment, as in the warm process
        jax.config.update("jax_platforms", "cpu")


def refuse_unknown_flags(flags: str) -> None:
    """XLA ends the process without a word to Python at a flag that it does not know, so another process tries.

    Raises:
        EnvironmentRefused: it does not know one.
    """
    trial = [sys.executable, "-c", "import jax; jax.devices()"]
    environment = dict(os.environ, XLA_FLAGS=flags, JAX_PLATFORMS="cpu")
    ended = subprocess.run(trial, env=environment, capture_output=True, text=True, errors="replace")
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or ["it ends the process"]
        _, found, unknown = said[-1].partition("XLA_FLAGS: ")
        what = f"XLA knows no flag {unknown}" if found else said[-1]
        raise EnvironmentRefused(f"XLA_FLAGS={flags}: {what}; unset it or take the flag out")
