"""Cores and GPUs: a job keeps to those that no other job of the user on this machine has.

What a job has is a file in a private folder that it locks; the system frees it however the job ends.
"""

import fcntl
import importlib.util
import os
import subprocess
import sys
import time

from rodflow.cli import folders
from rodflow.cli.environment import full_precision
from rodflow.config.values import Settings
from rodflow.errors import RodflowError

_held: list[int] = []  # descriptors of locks, while the job lives


class DeviceError(RodflowError, RuntimeError):
    """A device that a job cannot have to itself: one line with the reason and the remedy."""


def take_a_core() -> None:
    """Keep to a core that no other job of the user has taken, where the system allows it.

    XLA hands even the work of one thread around between a few; moved between cores, they cost a job up to
    twice its time.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    for core in sorted(os.sched_getaffinity(0)):
        if (lock := _lock(f"core{core}")) is not None:
            os.sched_setaffinity(0, {core})
            _held.append(lock)
            return


def take_devices(settings: Settings) -> None:
    """Keep to as many GPUs as the settings want, which no other job of the user has; wait until there are so many.

    To be called before JAX looks for devices. Nothing happens on a machine without GPUs, or where JAX has no plugin for
    them.

    Raises:
        DeviceError: there is no private folder for locks.
    """
    count, known = settings.get("compute", {}).get("devices", 1), _gpus()
    if not known:
        return
    if folders.of_locks() is None:
        raise DeviceError("GPUs: there is no private folder to lock them in; name one in TMPDIR")
    full_precision()
    while len(known) >= count:  # with fewer the objective says so
        locks = {gpu: lock for gpu in known if (lock := _lock(f"gpu-{gpu}")) is not None}
        for gpu in [*locks][count:]:
            os.close(locks.pop(gpu))
        if len(locks) == count:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(locks)
            _held.extend(locks.values())
            return
        for lock in locks.values():
            os.close(lock)
        time.sleep(1)


def _gpus() -> list[str]:
    """The GPUs that JAX could use, by the names that are theirs wherever they are seen from: UUIDs."""
    plugins = (importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    if os.environ.get("JAX_PLATFORMS") == "cpu" or not any(plugins):
        return []
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    every, chosen = answer.stdout.split(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return every
    numbers = {str(number): gpu for number, gpu in enumerate(every)}
    return [numbers.get(gpu, gpu) for gpu in chosen.split(",") if gpu]


def _lock(what: str) -> int | None:
    """Take a part of this machine, if no other job of the user has it. The system frees it when the job ends."""
    folder = folders.of_locks()
    if folder is None:
        return None
    name = what.replace("/", "_")  # the name of a device comes from the environment
    try:
        file = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError as error:
        print(f"note: {folder} has no locks ({error.strerror}): {what} is shared", file=sys.stderr)
    return file
