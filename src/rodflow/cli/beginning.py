"""What a call of the workflow does before its first job; a dry run, `--list` and `--lint` do none of it.

    begin(Path("results/digits"), local=True)

Each check that fails ends the call with one line.
"""

import fcntl
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from rodflow.cli import folders, parents, warm
from rodflow.errors import RodflowError, printable

LOCK = Path(".snakemake/rodflow.lock")

_held: list[int] = []  # the lock, while the call lives


class CallError(RodflowError, RuntimeError):
    """A call of the workflow that cannot begin: a line for each reason, and the remedy."""

    def __str__(self) -> str:
        return "\n".join(map(printable, self.args[0].split("\n")))


def begin(root: Path, *, local: bool) -> None:
    """Take the folder, look at what is there, and start what the jobs share.

    Args:
        root: the results folder of the experiment.
        local: whether the jobs run on this machine.

    Raises:
        SystemExit: with the line that says why not.
    """
    try:
        take_folder()
        for note in folders.keep_programs():
            print(note, file=sys.stderr)
        try_to_write(root)
        date_back(root)
        refuse_altered(root)
    except CallError as error:
        sys.exit(str(error))
    except RodflowError as error:
        sys.exit(f"error: {error}")
    except (OSError, RecursionError) as error:
        if line := folders.nested(error):
            sys.exit(f"error: {root}: {line}")
        raise
    if local:
        parents.die_with_the_caller()  # such as `rodflow everything`
        os.environ.update(parents.as_caller())
        parents.end_jobs_when_stopped(keep=warm.start())
    else:  # its jobs run elsewhere, inside their allotment, and this number means another process there
        os.environ.pop(parents.CALLER, None)


def take_folder() -> None:
    """One call at a time in a folder. The system frees the lock when the call ends or is killed.

    Raises:
        CallError: another call has it, or something else has its name.
    """
    LOCK.parent.mkdir(exist_ok=True)
    try:
        lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CallError(f"error: {LOCK}: cannot be opened ({error.strerror}); delete it") from None
    _held.append(lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CallError("another call of snakemake is running in this folder") from None
    except OSError as error:  # such as Lustre mounted without flock
        print(
            f"warning: this file system has no locks ({error.strerror}): call snakemake once at a time",
            file=sys.stderr,
        )


def try_to_write(root: Path) -> None:
    """A results folder that cannot be written stops the call before a job has run.

    Raises:
        CallError: it cannot be written.
    """
    from rodflow.store.files import ArtifactError, write_bytes

    probe = root / f".probe{os.getpid()}"
    try:
        write_bytes(probe, bytes(4096))
        probe.unlink()
    except ArtifactError as error:
        _, what, remedy = error.args
        raise CallError(f"error: {root}: {what}; {remedy}") from error


def date_back(root: Path) -> None:
    """Date files of the future now: they would be newer than what is made from them, at every call.

    They are left by a clock that was ahead. A minute's difference is none: a file server's clock. Files that come
    and go meanwhile, or that cannot be dated, are let be.
    """
    now, ahead = time.time(), []
    for folder, _, files in os.walk(root):
        for name in files:
            path = Path(folder, name)
            with suppress(OSError):
                if path.lstat().st_mtime > now + 60:
                    os.utime(path, (now, now), follow_symlinks=False)
                    ahead.append(path)
    if ahead:
        print(
            f"note: dated now, for the clock was ahead: {ahead[0]} and {len(ahead) - 1} more",
            file=sys.stderr,
        )


MOST = 10
"""Altered files that are named; the others are counted."""


def refuse_altered(root: Path) -> None:
    """A file that is neither as the manifest lists it nor as a job wrote it since stops the call by its name.

    Raises:
        CallError: there is such a file.
    """
    from rodflow.store.manifest import REMEDY, altered

    if problems := altered(root):
        lines = [f"error: {root}/{problem}" for problem in problems[:MOST]]
        if len(problems) > MOST:
            lines.append(f"error: and {len(problems) - MOST} more")
        raise CallError("\n".join([*lines, f"error: {REMEDY.format(root=root)}"]))
