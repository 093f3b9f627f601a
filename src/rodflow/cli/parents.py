"""A job ends with the call of the workflow that it belongs to, also if that was terminated or killed."""

import os
import signal
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from types import FrameType

CALLER = "RODFLOW_CALLER"
"""The environment variable with the number of the workflow's process, where jobs run on its machine."""

PAUSE = 0.5
"""Seconds between two looks."""


def die_with_the_workflow() -> None:
    """End this job when the call that it belongs to is gone, so that the next call finds no rival.

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


def end_jobs_when_terminated(keep: Collection[int]) -> None:
    """On SIGTERM end the jobs of this call, as an interrupt from the terminal does.

    Snakemake by itself would wait for its jobs, which may be hours. Here what they have so far is in their
    checkpoints. Its own answer to the signal comes after ours.

    Args:
        keep: child processes that end otherwise, such as the warm process.
    """
    import psutil  # Snakemake brings it

    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        for child in psutil.Process().children():
            if child.pid not in keep:
                for process in (*child.children(recursive=True), child):
                    process.terminate()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, end)


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
