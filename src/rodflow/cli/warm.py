"""A process that has the libraries loaded and becomes, in a copy of itself, any job that asks.

Loading JAX and its friends takes two seconds of a core, a copy (fork) a few milliseconds; docs/benchmarks.md says what
that saves. The workflow starts one such process for itself (`rodflow.cli.server`) and names its socket in
RODFLOW_WARM. `rodflow` hands a job over to it where there is one, and does it by itself where there is none: by hand,
or on another machine.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

WARM = "RODFLOW_WARM"
"""The environment variable that names the socket of the warm process."""

LONGEST = 107
"""Bytes of the name that a socket can have."""

_started: list[subprocess.Popen[bytes]] = []  # with the pipes that hold them


def start() -> list[int]:
    """Start the process and name it to the jobs of this one. Only on Linux, where a fork is safe and cheap.

    Returns:
        The process's number; empty where none is started, as in a folder whose name is too long for a socket.
    """
    if sys.platform != "linux":
        return []
    path = Path(tempfile.mkdtemp(prefix="rodflow-")) / "warm"
    if len(os.fsencode(path)) > LONGEST:
        path.parent.rmdir()
        return []
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "rodflow.cli.server", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # an interrupt reaches the jobs, and ends this process with the workflow
    )
    _started.append(process)
    os.environ[WARM] = str(path)
    return [process.pid]


def handed_over(arguments: Sequence[str]) -> int | None:
    """The exit status of this command in a copy of the warm process; None if there is no such process."""
    if WARM not in os.environ:
        return None
    request = {
        "arguments": list(arguments),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
    }
    with socket.socket(socket.AF_UNIX) as job:
        try:
            job.connect(os.environ[WARM])
        except OSError:
            return None
        status = b""
        with suppress(ConnectionError):  # the process was killed before it took the job
            socket.send_fds(job, [b"!"], [0, 1, 2])
            job.sendall(json.dumps(request).encode() + b"\n")
            status = job.recv(1)
    if not status:
        print("error: the job was killed, perhaps for want of memory", file=sys.stderr)
    return status[0] if status else 1
