"""What a job has given so far: it goes on where it was killed, and its memory does not grow with its length.

A job appends rows to the named columns of a `Checkpoint`. Between two pieces of work it saves them, together with the
state that it goes on from:

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

Rows wait in memory until a save is due, which is a few seconds after the start, or until they fill `ROOM`. So a short
job never touches the disk. Columns that went to the disk come back as arrays mapped from their files. Without a scratch
folder a checkpoint is a list in memory.

A save is complete or absent. It says how long each column was and what its bytes add up to (CRC-32). On resuming, rows
that came after the save are cut off. If anything does not fit, all is discarded and the job starts over. The same
happens where the folder is of another job: its key is the digest of everything that decides what the job gives.
Nothing in the folder is followed as a link, opened by a name that leads outside or waited for.
"""

import fcntl
import json
import mmap
import os
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rodflow.config.values import Settings
from rodflow.errors import RodflowError, printable
from rodflow.store.files import open_plain, sync_folder
from rodflow.store.owned import changed_file, make_folder, new_file, remove

PAUSE = 5.0
"""Seconds between two saves, and before the first one."""

SHARE = 20
"""The pause is at least so many times what the last save took."""

ROOM = 2**26
"""Bytes of rows that wait in memory."""

PATIENCE = 10.0
"""Seconds that a new process waits for a killed one to let go of the folder."""

_BLOCK = 2**22  # bytes read at a time
_KEY = "key"
_STATE = "state.npz"
_NAME = re.compile(r"\w[\w.]*")


class CheckpointError(RodflowError, RuntimeError):
    """The scratch folder of a job cannot be used: one line with the folder and a remedy."""


class Scratch:
    """A folder for the checkpoints of one job, on disk only once one of them needs it.

    Args:
        folder: made when it is needed; one process at a time may hold it. Whatever else has its name is removed.
        key: the digest of everything that decides what the job gives, asked for when the folder is there or needed.
            What a folder of another key holds is discarded.
        pause: seconds between two saves; 0: at every opportunity.
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
        if os.path.lexists(folder):
            self.claim()

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() >= self._due

    def saved(self, took: float) -> None:
        """Count the pause from a save that took so many seconds."""
        self._due = time.monotonic() + (max(self._pause, SHARE * took) if self._pause else 0)

    def claim(self) -> None:
        """Hold the folder, make it if need be, and empty it of another job.

        Raises:
            CheckpointError: another process holds the folder, or it cannot be written.
        """
        if self._lock is not None:
            return
        try:
            if make_folder(self.folder):
                self.tell("what stood where its scratch folder belongs is removed: starts over", 0)
            self._lock = self._locked()
            key = self._key()
            if not self._has(key):
                left = list(self.folder.iterdir())
                if any(path.name != _KEY for path in left):
                    self.tell("what a killed run left is of other settings or code: starts over", 0)
                for path in left:
                    remove(path)
                with new_file(self.folder / _KEY) as file:
                    file.write(key.encode())
        except OSError as error:
            raise self.refused(error) from error

    def _has(self, key: str) -> bool:
        try:
            with open_plain(self.folder / _KEY, own=True) as file:
                return file.read(len(key.encode()) + 1) == key.encode()
        except OSError:
            return False

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
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
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
    """What a part of a job has given so far, as named columns that grow by rows, and the state that it goes on from.

    Args:
        scratch: where they are saved; None: they stay in memory.
        name: of the part, and of its folder there.
    """

    def __init__(self, scratch: Scratch | None = None, name: str = "") -> None:
        self._scratch, self._name = scratch, name
        self._columns: dict[str, _Column] = {}
        self._waiting = 0
        self._began, self._earlier = time.monotonic(), 0.0

    @property
    def names(self) -> list[str]:
        """The names of the columns, in the order of their first rows."""
        return list(self._columns)

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self._scratch is not None and self._scratch.due

    def append(self, name: str, rows: np.ndarray) -> None:
        """Add rows, the leading axis, to a column; type and shape are those of its first rows.

        Args:
            name, rows: which column, and what is added to it.

        Raises:
            ValueError: the rows have another type or shape.
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

    def save(self, state: Sequence[np.ndarray], **note: object) -> None:
        """Write all rows, and the state to go on from: arrays, and a note of JSON values.

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
        path = self._folder(self._scratch) / _STATE
        temporary = path.with_suffix(".tmp")
        try:
            with new_file(temporary) as file:
                np.savez(file, np.array(json.dumps(header)), *state)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise self._scratch.refused(error) from error
        self._scratch.saved(time.monotonic() - began)

    def resume(self) -> tuple[list[np.ndarray], Settings] | None:
        """State and note of the last save, the columns being as they were then; None if there is none.

        Raises:
            CheckpointError: what is left is damaged, and cannot be removed.
        """
        if self._scratch is None or not os.path.lexists(folder := self._folder(self._scratch)):
            return None
        try:
            if folder.is_symlink() or not folder.is_dir():
                raise ValueError(f"{folder.name} is no folder")
            try:
                state, header = _read(folder / _STATE)
            except FileNotFoundError:
                remove(folder)  # killed before the first save
                return None
            columns = {one[0]: _column(*one) for one in header["columns"]}
            for name, column in columns.items():
                _cut(folder / name, column.written * column.row, column.crc)
            self._earlier, note = float(header["seconds"]), dict(header["note"])
        except Exception as error:  # whatever is wrong with it, it is of no use
            line = printable(" ".join(str(error).split()))
            self._scratch.tell(f"what a killed run left is damaged ({line}): starts over", 0)
            try:
                remove(folder)
            except OSError as refusal:
                raise self._scratch.refused(refusal) from refusal
            return None
        self._columns = columns
        return state, note

    def tell(self, line: str) -> None:
        """Say that the part continues."""
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
            make_folder(self._folder(scratch))
            for name, column in self._columns.items():
                path = self._file(name)
                with changed_file(path) if column.written else new_file(path) as file:
                    file.seek(0, os.SEEK_END)
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


def let_go(values: np.ndarray) -> None:
    """Do not keep the pages of a column that were looked at in memory; other arrays stay as they are."""
    base: object = values
    while isinstance(base, np.ndarray):
        base = base.base
    if (
        isinstance(base, mmap.mmap)
        and not values.flags.writeable
        and hasattr(mmap, "MADV_DONTNEED")
    ):
        base.madvise(mmap.MADV_DONTNEED)


# What a save holds


def _read(path: Path) -> tuple[list[np.ndarray], Settings]:
    """State and header of a save.

    Raises:
        Exception: of whatever kind, if it is none.
    """
    with open_plain(path, own=True) as file, np.load(file, allow_pickle=False) as stored:
        if any(one.compress_type != zipfile.ZIP_STORED for one in stored.zip.infolist()):
            raise ValueError(f"{path.name} is compressed")  # and may hold more than memory does
        text, *state = [stored[f"arr_{index}"] for index in range(len(stored.files))]
    return state, json.loads(str(text))


def _column(name: str, dtype: str, shape: list[int], written: int, crc: int) -> _Column:
    """A column of a save; ValueError or TypeError if no run of ours wrote it."""
    if not _NAME.fullmatch(name) or name == _STATE or np.dtype(dtype).kind not in "biuf":
        raise ValueError(f"{name} is no column")
    if min(written, crc, *shape) < 0:
        raise ValueError(f"{name} has no such shape")
    return _Column(np.dtype(dtype), tuple(shape), written, crc)


def _cut(path: Path, size: int, crc: int) -> None:
    """Cut a file to a size and compare what is left with its checksum; ValueError if it differs."""
    with changed_file(path) as file:
        found, left = 0, size
        while left and (block := file.read(min(left, _BLOCK))):
            found = zlib.crc32(block, found)
            left -= len(block)
        if left or found != crc:
            raise ValueError(f"{path.name} has not the bytes that it had")
        file.truncate(size)
