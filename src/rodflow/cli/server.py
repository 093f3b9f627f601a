"""The warm process: it waits for jobs and becomes each in a copy of itself.

The copy has the job's arguments, working folder, environment, output and exit status. It dies with the job. The process
holds the reading end of a pipe whose other end only the workflow has, so that it ends however that ends.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from rodflow.cli import environment, folders, main, stages
from rodflow.cli.warm import WARM
from rodflow.config import code
from rodflow.config.catalogue import KINDS, CatalogueError

MODULES = (
    "rodflow.stages.sharpness",
    "rodflow.stages.iterates",
    "rodflow.analysis.comparison",
    "rodflow.figures.core.style",
)
"""What every job needs. None of them starts a thread, which a copy would lack."""


def prepared() -> Iterator[object]:
    """Do bit by bit what every job would do again: load the modules, and read the code that its result depends on."""
    for module in MODULES:
        yield importlib.import_module(module)
    jobs = (f"{stages.__name__}.{one.name}" for one in pkgutil.iter_modules(stages.__path__))
    for module in (*jobs, *(kind.module(name) for kind in KINDS for name in kind)):
        with contextlib.suppress(CatalogueError):  # whoever uses it says so
            yield code.digest(module)


def serve(path: Path) -> None:
    """Answer jobs until the process that started this one is gone, which ends standard input."""
    try:
        _serve(path)
    finally:
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def _serve(path: Path) -> None:
    environment.prepare()
    folders.keep_programs()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies
    left: Iterator[object] | None = prepared()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(128)
        while True:
            ready = select.select([server, sys.stdin], [], [], 0 if left else None)[0]
            if sys.stdin in ready:
                break
            if server in ready:
                connection, _ = server.accept()
                if os.fork() == 0:
                    try:
                        server.close()
                        become(connection)
                    finally:
                        os._exit(1)
                connection.close()
            elif left and next(left, None) is None:
                left = None


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
    del os.environ[WARM]
    threading.Thread(target=_die_with, args=(job,), daemon=True).start()
    with contextlib.suppress(OSError):
        job.sendall(bytes([_status(request["arguments"])]))
    os._exit(0)


def _die_with(job: socket.socket) -> None:
    if not job.recv(1):
        os._exit(1)


def _status(arguments: Sequence[str]) -> int:
    """Run the command as Python would; its exit status."""
    code: object
    try:
        code = main.run(arguments)
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
