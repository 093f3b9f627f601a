"""A job ends with the call of the workflow that it belongs to, also if that was terminated or killed."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from types import FrameType

CALLER = "RODFLOW_CALLER"
"""The environment variable with the number of the process that this one belongs to, where it is on its machine."""

PAUSE = 0.5
"""Seconds between two looks."""


def as_caller() -> dict[str, str]:
    """The environment of a process that ends with this one."""
    return dict(os.environ, **{CALLER: str(os.getpid())})


def die_with_the_caller() -> None:
    """End this process when the one that it belongs to is gone, so that the next call finds no rival.

    What the job has so far is in its checkpoints.
    """
    caller = os.environ.get(CALLER, "")
    if not caller.isdecimal():
        return

    def watch() -> None:
        while is_alive(int(caller)):
            time.sleep(PAUSE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def end_jobs_when_stopped(keep: Collection[int]) -> None:
    """On SIGTERM or SIGINT end the jobs of this call, also where the signal reaches this process only.

    Snakemake by itself would wait for its jobs, which may be hours. Here what they have so far is in their
    checkpoints. Its own answer to the signal comes after ours. It may be about to start a job just then, so we look
    again until this process ends.

    Args:
        keep: child processes that end otherwise, such as the warm process.
    """
    import psutil  # Snakemake brings it

    def end_jobs() -> None:
        while True:
            for child in psutil.Process().children():
                if child.pid not in keep:
                    _terminate(child)
            time.sleep(PAUSE)

    def _terminate(child: psutil.Process) -> None:
        found = [child]
        with suppress(psutil.Error):  # it ended meanwhile, as the shell of a job does with the job
            found = [*child.children(recursive=True), child]
        for process in found:
            with suppress(psutil.Error):
                process.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if callable(before):  # a call in the background of a script is deaf to SIGINT, and stays so

            def end(
                number: int,
                frame: FrameType | None,
                before: Callable[[int, FrameType | None], object] = before,
            ) -> None:
                threading.Thread(target=end_jobs, daemon=True).start()
                before(number, frame)

            signal.signal(number, end)


def is_alive(process: int) -> bool:
    """Whether a process of this machine runs; one that has ended and waits to be reaped does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if sys.platform != "linux":
        return True
    try:
        said = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return not Path("/proc/self").exists()
    return said.rpartition(")")[2].split()[0] not in "ZX"
