"""What the scripts of all stages share: how they run, their arguments, progress and errors.

A script is called by Snakemake or by hand; the command is in the log of a failed job and works as it is.
"""

import argparse
import fcntl
import json
import os
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_core: IO[str] | None = None  # held while the job lives


WARM = "RODFLOW_WARM"
"""The environment variable that names the socket of the warm process, see warm.py."""


def run(main: Callable[[], None], *, cores: int = 1) -> None:
    """Call a stage, in a warm process where there is one; its own errors are one line, without a traceback.

    Args:
        main: the stage.
        cores: that it uses; one that uses a single core is kept to it.
    """
    status = _handed_over()
    if status is not None:
        sys.exit(status)
    environment()
    if cores == 1:
        take_a_core()
    try:
        main()
    except (ValueError, RuntimeError) as error:
        if type(error).__module__.split(".")[0] != "rodflow":
            raise
        sys.exit(f"error: {error}")


def _handed_over() -> int | None:
    """The exit status of this script in a copy of the warm process; None if there is no such process."""
    if WARM not in os.environ:
        return None
    request = {"arguments": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as job:
        try:
            job.connect(os.environ[WARM])
        except OSError:
            return None
        socket.send_fds(job, [b"!"], [0, 1, 2])
        job.sendall(json.dumps(request).encode() + b"\n")
        status = job.recv(1)
    if not status:
        print("error: the job was killed, perhaps for want of memory", file=sys.stderr)
    return status[0] if status else 1


def environment() -> None:
    """What JAX and its friends must find when they are loaded: one thread, and where compiled programs are kept.

    n jobs of one thread side by side beat one job with n threads. The programs are in the cache folder of the user or
    RODFLOW_CACHE.
    """
    flag = "--xla_cpu_multi_thread_eigen=false"
    flags = os.environ.get("XLA_FLAGS", "")
    if flag not in flags:
        os.environ["XLA_FLAGS"] = f"{flag} {flags}".strip()
    os.environ.setdefault("NPROC", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rodflow"
    folder = Path(os.environ.get("RODFLOW_CACHE", default)) / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def take_a_core() -> None:
    """Keep to a core that no other job of the user has taken, where the system allows it.

    XLA hands even the work of one thread around between a few; moved between cores, they cost a job up to
    twice its time. The system frees the lock when the job ends or is killed.
    """
    global _core
    if not hasattr(os, "sched_setaffinity"):
        return
    for core in sorted(os.sched_getaffinity(0)):
        path = Path(tempfile.gettempdir()) / f"rodflow-{os.getuid()}-core{core}.lock"
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        os.sched_setaffinity(0, {core})
        _core = lock
        return


def arguments(description: str | None, **options: dict[str, Any]) -> argparse.Namespace:
    """Parse --root, --output and the options given; --settings-like options are JSON."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", required=True, type=Path, help="results/<name>")
    for name, option in ({"output": PATH} | options).items():
        parser.add_argument(f"--{name}", required=True, **option)
    return parser.parse_args()


JSON: dict[str, Any] = {"type": json.loads}
PATH: dict[str, Any] = {"type": Path}
PATHS: dict[str, Any] = {"type": Path, "nargs": "+"}


class Clock:
    """Wall time since the script began, and a progress line on standard error every few seconds."""

    def __init__(self, title: str, last: int) -> None:
        self.title, self.last = title, last
        self.restart()

    def restart(self) -> None:
        """Begin again."""
        self.began = self.told = time.perf_counter()

    def __call__(self, step: int, loss: float) -> None:
        now = time.perf_counter()
        if now - self.told > 5 or step >= self.last:
            self.told = now
            message = (
                f"{self.title}: step {step} of {self.last}, loss {loss:.6g}, {self.elapsed:.0f} s"
            )
            print(message, file=sys.stderr, flush=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was started."""
        return time.perf_counter() - self.began


def store(
    data: Any,
    output: Path,
    args: argparse.Namespace,
    clock: Clock,
    *,
    kind: str,
    settings: dict[str, Any],
    inputs: dict[str, Path],
) -> None:
    """Write what a run's job made, with its settings, status, cost and device."""
    import jax

    from rodflow import artifact

    if (status := data.attrs["status"]) != "completed":
        print(f"warning: {output.name}: {status}", file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    artifact.write(
        data.assign_attrs(peak_memory_mib=round(peak)),
        output,
        kind=kind,
        root=args.root,
        settings=settings,
        inputs=inputs,
        wall_time=clock.elapsed,
        status=status,
        device=jax.devices()[0].device_kind,
    )
