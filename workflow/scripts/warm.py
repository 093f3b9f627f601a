"""A process that has the libraries loaded and becomes, in a copy of itself, any job that asks.

Loading JAX and its friends takes two seconds, a copy (fork) a few milliseconds. The workflow starts one such process
for itself and names its socket in RODFLOW_WARM; `stage.run` hands a job over to it where there is one, and does it by
itself where there is none: a script called by hand, a job on another machine.

The copy has the job's arguments, working folder, environment, output and exit status. It dies with the job, and the
process with the workflow.
"""

import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

import stage

MODULES = [
    "rodflow.stages.sharpness",
    "rodflow.stages.iterates",
    "rodflow.analysis.comparison",
    "rodflow.figures.core.style",
]
"""What is loaded in the meantime, while no job waits. None of them starts a thread, which a copy would lack."""


def start() -> None:
    """Start the process and name it to the jobs of this one. Only on Linux, where a fork is safe and cheap."""
    if sys.platform != "linux":
        return
    path = Path(tempfile.mkdtemp(prefix="rodflow-")) / "warm"
    subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # an interrupt reaches the jobs, and ends this process with the workflow
    )
    os.environ[stage.WARM] = str(path)


def serve(path: Path) -> None:
    """Answer jobs until the process that started this one is gone."""
    parent = os.getppid()
    stage.environment()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies
    to_load = list(MODULES)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(128)
        while os.getppid() == parent:
            if select.select([server], [], [], 0 if to_load else 0.5)[0]:
                connection, _ = server.accept()
                if os.fork() == 0:
                    server.close()
                    become(connection)
                connection.close()
            elif to_load:
                importlib.import_module(to_load.pop(0))
    path.unlink()
    path.parent.rmdir()


def become(job: socket.socket) -> None:
    """Do the job at the other end of the connection, and send its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(job, 1, 3)
    with job.makefile("rb") as lines:
        request = json.loads(lines.readline())
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    del os.environ[stage.WARM]
    sys.argv = request["arguments"]
    threading.Thread(target=_die_with, args=(job,), daemon=True).start()
    job.sendall(bytes([_status()]))
    os._exit(0)


def _die_with(job: socket.socket) -> None:
    if not job.recv(1):
        os._exit(1)


def _status() -> int:
    """Run the script as Python would; its exit status."""
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        code: object = 0
    except SystemExit as leave:
        code = leave.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return (code or 0) & 255


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
