"""What a long run has given so far, on disk: it goes on where it was killed, and its memory does not grow.

A run appends rows to named columns of a `Checkpoint` and, between two pieces of work, saves where it is:

    scratch = Scratch(root / "gd/.discrete.nc.partial", key=lambda: digest_of_all_that_decides_the_run)
    checkpoint = Checkpoint(scratch, "run")
    if begun := checkpoint.resume():
        state, note = begun
    ...
    checkpoint.append("loss", values)
    if checkpoint.due:
        checkpoint.save(state, step=step)
    ...
    loss = checkpoint.column("loss")
    scratch.remove()  # once what was made of it is in place

Rows stay in memory until a checkpoint is due, which is a few seconds after the start, or until they fill `ROOM`: a
short run never touches the disk. Columns that went there come back as arrays mapped from their files.

A checkpoint is complete or absent. It says how far each column was and what its bytes add up to (CRC-32), so that what
came after it is cut off, and a damaged one is discarded together with its columns. So is one of another run: the folder
has a key, the digest of everything that decides the run. Without a scratch folder a checkpoint is a list in memory.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import shutil
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rodflow.errors import RodflowError

PAUSE = 5.0
"""Seconds between two checkpoints, and before the first one."""

SHARE = 20
"""The pause is at least so many times what the last checkpoint took."""

ROOM = 2**26
"""Bytes of rows that wait in memory."""

PATIENCE = 10.0
"""Seconds that a new process waits for a killed one to let go of the folder."""

_BLOCK = 2**22  # bytes read at a time


class CheckpointError(RodflowError, RuntimeError):
    """The scratch folder of a run cannot be used: one line with the folder and a remedy."""


class Scratch:
    """A folder for the checkpoints of one job, on disk only once one of them needs it.

    Args:
        folder: made when it is needed; one process at a time may hold it.
        key: the digest of everything that decides what the job gives, asked for when the folder is there or needed.
            What a folder of another key holds is discarded.
        pause: seconds between two checkpoints; 0: at every opportunity.
        tell: called with a line that says that a part continues, or why not, and the seconds spent on it before.

    Raises:
        CheckpointError: another process holds the folder, or it cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        key: Callable[[], str],
        *,
        pause: float = PAUSE,
        tell: Callable[[str, float], None] = lambda line, seconds: None,
    ) -> None:
        self.folder, self.tell = folder, tell
        self._key, self._pause = key, pause
        self._lock: int | None = None
        self._due = time.monotonic() + pause
        if folder.exists():
            self.claim()

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() >= self._due

    def saved(self, took: float) -> None:
        """A checkpoint took so many seconds: the next one is due after a pause."""
        self._due = time.monotonic() + (max(self._pause, SHARE * took) if self._pause else 0)

    def claim(self) -> None:
        """Hold the folder, make it if need be, and empty it of another run."""
        if self._lock is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = self._locked()
            key, file = self._key(), self.folder / "key"
            if not file.exists() or file.read_text() != key:
                others = [path for path in self.folder.iterdir() if path.is_dir()]
                if others:
                    self.tell("what a killed run left is of other settings or code: starts over", 0)
                for path in others:
                    shutil.rmtree(path)
                file.write_text(key)
        except OSError as error:
            raise self.refused(error) from error

    def remove(self) -> None:
        """Delete the folder. Mapped columns stay what they are."""
        if self._lock is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Leave the folder to others, as the end of the process does."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def refused(self, error: OSError) -> CheckpointError:
        """The error as one line."""
        return CheckpointError(
            f"{self.folder}: cannot be written: {error.strerror or error}; "
            "make room or make it writable and run again: the run continues where it was"
        )

    def _locked(self) -> int:
        """A descriptor of the folder, locked as long as the process lives."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() > end:
                    os.close(descriptor)
                    raise CheckpointError(
                        f"{self.folder}: another process makes the same file; run one at a time"
                    ) from None
                time.sleep(0.1)
            except OSError:  # a file system without locks
                return descriptor


@dataclass
class _Column:
    """Rows of one type and shape: those on disk are counted, the others wait."""

    dtype: np.dtype
    shape: tuple[int, ...]
    written: int = 0
    crc: int = 0
    waiting: list[np.ndarray] = field(default_factory=list)

    @property
    def row(self) -> int:
        """Bytes of a row."""
        return int(np.prod(self.shape, dtype=int)) * self.dtype.itemsize


class Checkpoint:
    """Named columns that grow by rows, and where the run is that makes them.

    Args:
        scratch: where they go when they are many; None: they stay in memory.
        name: of the part of the job.
    """

    def __init__(self, scratch: Scratch | None = None, name: str = "") -> None:
        self._scratch, self._name = scratch, name
        self._columns: dict[str, _Column] = {}
        self._waiting = 0
        self._began, self._earlier = time.monotonic(), 0.0

    @property
    def names(self) -> list[str]:
        """Of the columns, in the order of their first rows."""
        return list(self._columns)

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self._scratch is not None and self._scratch.due

    def append(self, name: str, rows: np.ndarray) -> None:
        """Add rows, the leading axis, to a column; type and shape are those of its first rows.

        Raises:
            CheckpointError: the disk refuses.
        """
        rows = np.asarray(rows)
        column = self._columns.setdefault(name, _Column(rows.dtype, rows.shape[1:]))
        if (rows.dtype, rows.shape[1:]) != (column.dtype, column.shape):
            raise ValueError(f"column {name}: rows of {rows.dtype}{rows.shape[1:]}")
        column.waiting.append(rows)
        self._waiting += rows.nbytes
        if self._scratch is not None and self._waiting > ROOM:
            self._flush(self._scratch)

    def column(self, name: str) -> np.ndarray:
        """All rows of a column, read-only and mapped from its file if there is one.

        Raises:
            CheckpointError: the disk refuses.
        """
        column = self._columns[name]
        if not column.written or self._scratch is None:
            nothing = np.zeros((0, *column.shape), column.dtype)
            column.waiting = [np.concatenate([nothing, *column.waiting])]
            return column.waiting[0]
        self._flush(self._scratch)
        shape = (column.written, *column.shape)
        if not column.row:
            return np.zeros(shape, column.dtype)
        return np.memmap(self._file(name), column.dtype, mode="r", shape=shape)

    def save(self, state: Sequence[np.ndarray], **note: Any) -> None:
        """Write all rows and a checkpoint: arrays, and a note of JSON values.

        Raises:
            CheckpointError: the disk refuses.
        """
        if self._scratch is None:
            raise CheckpointError(
                "a checkpoint in memory has nowhere to save to; give it a scratch folder"
            )
        began = time.monotonic()
        self._flush(self._scratch, sync=True)
        header = {
            "columns": [
                [name, column.dtype.str, column.shape, column.written, column.crc]
                for name, column in self._columns.items()
            ],
            "seconds": self._earlier + began - self._began,
            "note": note,
        }
        path = self._folder(self._scratch) / _CHECKPOINT
        temporary = path.with_suffix(".tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(file, np.array(json.dumps(header)), *state)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise self._scratch.refused(error) from error
        self._scratch.saved(time.monotonic() - began)

    def resume(self) -> tuple[list[np.ndarray], dict[str, Any]] | None:
        """State and note of the last checkpoint, the columns being as they were then; None if there is none."""
        if self._scratch is None or not self._folder(self._scratch).exists():
            return None
        folder = self._folder(self._scratch)
        try:
            with (folder / _CHECKPOINT).open("rb") as file, np.load(file) as stored:
                text, *state = [stored[f"arr_{index}"] for index in range(len(stored.files))]
            header = json.loads(str(text))
            columns = {
                name: _Column(np.dtype(dtype), tuple(shape), written, crc)
                for name, dtype, shape, written, crc in header["columns"]
            }
            for name, column in columns.items():
                _cut(folder / name, column.written * column.row, column.crc)
            self._earlier, note = float(header["seconds"]), dict(header["note"])
        except FileNotFoundError:
            shutil.rmtree(folder)  # killed before the first checkpoint
            return None
        except Exception as error:  # whatever is wrong with it, it is of no use
            line = " ".join(str(error).split())
            self._scratch.tell(f"what a killed run left is damaged ({line}): starts over", 0)
            shutil.rmtree(folder)
            return None
        self._columns = columns
        return state, note

    def tell(self, line: str) -> None:
        """Say that the run continues."""
        if self._scratch is not None:
            self._scratch.tell(line, self._earlier)

    def _folder(self, scratch: Scratch) -> Path:
        return scratch.folder / self._name

    def _file(self, name: str) -> Path:
        assert self._scratch is not None
        return self._folder(self._scratch) / name

    def _flush(self, scratch: Scratch, *, sync: bool = False) -> None:
        """Write the rows that wait."""
        scratch.claim()
        try:
            self._folder(scratch).mkdir(exist_ok=True)
            for name, column in self._columns.items():
                with self._file(name).open("ab" if column.written else "wb") as file:
                    for rows in column.waiting:
                        content = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
                        file.write(content)
                        column.crc = zlib.crc32(content, column.crc)
                        column.written += len(rows)
                    file.flush()
                    if sync:
                        os.fsync(file.fileno())
                column.waiting = []
        except OSError as error:
            raise scratch.refused(error) from error
        self._waiting = 0


_CHECKPOINT = "checkpoint.npz"


def _cut(path: Path, size: int, crc: int) -> None:
    """Cut a file to a size and compare what is left with its checksum.

    Raises:
        ValueError: it differs.
    """
    with path.open("r+b") as file:
        found, left = 0, size
        while left and (block := file.read(min(left, _BLOCK))):
            found = zlib.crc32(block, found)
            left -= len(block)
        if left or found != crc:
            raise ValueError(f"{path.name} has not the bytes that it had")
        file.truncate(size)


def let_go(values: np.ndarray) -> None:
    """Do not keep the pages of a column that were looked at in memory; other arrays stay as they are."""
    base: Any = values
    while isinstance(base, np.ndarray):
        base = base.base
    if (
        isinstance(base, mmap.mmap)
        and not values.flags.writeable
        and hasattr(mmap, "MADV_DONTNEED")
    ):
        base.madvise(mmap.MADV_DONTNEED)
