"""A job ends with the call of the workflow that it belongs to, also if that was killed."""

import os
import sys
import threading
import time
from pathlib import Path

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
