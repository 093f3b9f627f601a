"""Files as a whole: they appear complete or not at all, and only plain ones are read.

A results folder may come from somebody else, so that its names are data. What is no regular file (a FIFO, a device)
would be read for ever, and so would a file that claims more bytes than the disk holds for it; a link or a name with
`..` leads elsewhere. All of them are refused here, by name:

    write_bytes("results/digits/figures/toy.csv", table.encode())
    place_fault("results/digits", "mlp/gd/seed0/rod.nc")    # "" where it is a plain file of the folder
"""

import errno
import glob
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath

from rodflow.errors import RodflowError, printable

StrPath = str | os.PathLike[str]

RERUN = "delete it and run again"
"""The remedy for a file that cannot be trusted."""

_SPARSE = 2**26  # bytes from which on a file may be taken for one with holes
_WRITE_REMEDIES = {
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some of the quota and run again",
    errno.ENOTDIR: "move the file that stands where a folder is needed",
    errno.EEXIST: "move the file that stands where a folder is needed",
    errno.EISDIR: "move the folder that has its name",
    errno.ENOENT: "another process wrote the same file: run one at a time",
}


class ArtifactError(RodflowError, RuntimeError):
    """A file that cannot be written, read or trusted: one line with the file and a remedy."""

    def __init__(self, path: StrPath, what: str, remedy: str = RERUN) -> None:
        super().__init__(os.fspath(path), " ".join(what.split()), remedy)

    @property
    def what(self) -> str:
        """What is wrong, without the file and the remedy."""
        return self.args[1]

    def __str__(self) -> str:
        path, what, remedy = self.args
        return printable(f"{path}: {what}; {remedy}")


@dataclass(frozen=True)
class Problem:
    """A finding about a file of a results folder, in words that any terminal shows as they are.

    Attributes:
        path: the file, relative to the results root.
        what: what is wrong with it.
        source: the input that it does not fit, if that is what is wrong.
    """

    path: str
    what: str
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("path", "what", "source"):
            object.__setattr__(self, name, printable(getattr(self, name)))

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


# Writing

BeforePlacing = Callable[[Path, Path], None]
"""Is told the complete file and the path that it is about to take."""

before_placing: list[BeforePlacing] = []
"""What is called before any file of this process takes its name, see `rodflow.store.manifest.note_writes`."""


def write_bytes(path: StrPath, *parts: bytes) -> None:
    """Store bytes in a file that appears complete or not at all.

    Raises:
        ArtifactError: the folder or the file cannot be written.
    """
    with placed(Path(path)) as temporary, temporary.open("wb") as file:
        file.writelines(parts)


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """A file to write, which then takes the name of another one.

    It is a temporary file in the same folder, `.<name>.<token>.tmp`, that reaches the disk before
    it is renamed. What a killed writer of the same file left behind is removed.

    Raises:
        ArtifactError: the folder or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            leftover.unlink(missing_ok=True)
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            for tell in before_placing:
                tell(temporary, path)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        remedy = _WRITE_REMEDIES.get(error.errno or 0, "make its folder writable and run again")
        raise ArtifactError(
            path, f"cannot be written: {error.strerror or error}", remedy
        ) from error


def sync_folder(folder: Path) -> None:
    """Have the names in a folder reach the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Reading


def open_plain(path: StrPath, *, own: bool = False) -> BufferedReader:
    """Open a regular file for reading; what is none is refused without waiting for it.

    Args:
        path: the file.
        own: whether it has to be under this name only: neither a link nor one of several names of a file.

    Raises:
        OSError: it cannot be opened, is no regular file, or claims far more bytes than the disk holds for it.
    """
    # A device may do something when it is opened, so it is looked at before; a name may be replaced, so also after.
    _check_regular(os.lstat(path) if own else os.stat(path), own)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_NOFOLLOW if own else 0)
    descriptor = os.open(path, flags)
    try:
        _check_regular(os.fstat(descriptor), own)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _check_regular(status: os.stat_result, own: bool) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "it is a link")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if own and status.st_nlink != 1:
        raise OSError(errno.EMLINK, "it is the file of another name, too")
    if status.st_size > _SPARSE and 512 * status.st_blocks < status.st_size // 8:
        raise OSError(errno.EFBIG, f"it has holes: {status.st_size} bytes are claimed, few exist")


def read_bytes(path: StrPath, most: int) -> bytes:
    """The content of a regular file of at most so many bytes.

    Args:
        path, most: the file, and how many bytes of it are read at most.

    Raises:
        OSError: as `open_plain`, or there are more.
    """
    with open_plain(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes")
    return content


def sha256(path: StrPath) -> str:
    """The SHA-256 of a regular file, in hexadecimal.

    Raises:
        ArtifactError: the file cannot be read.
    """
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise ArtifactError(path, f"cannot be read: {reason(error)}", "make it first") from error


def reason(error: Exception) -> str:
    """What the system says was wrong with a file."""
    return str(getattr(error, "strerror", None) or error)


# Names in a folder


def relative(path: StrPath, root: StrPath) -> str:
    """A path as it is recorded: seen from a folder, with slashes.

    Args:
        path, root: what is named, and the folder that it is seen from; neither has to be there.
    """
    return Path(os.path.relpath(path, root)).as_posix()


def place_fault(root: StrPath, place: str) -> str:
    """Why a name, relative to a folder, is not that of a plain file in it; "" if it is.

    Args:
        root, place: the folder, and the name relative to it, with slashes.
    """
    name = PurePosixPath(place)
    if not name.parts or name.is_absolute() or ".." in name.parts or "\0" in place:
        return "leads outside the folder"
    path, mode = Path(root), 0
    for part in name.parts:
        path /= part
        try:
            mode = os.lstat(path).st_mode
        except (OSError, ValueError) as error:
            return f"cannot be read: {reason(error)}"
        if stat.S_ISLNK(mode):
            where = "it" if path == Path(root, name) else relative(path, root)
            return f"cannot be read: {where} is a link, and links are not followed"
    if stat.S_ISDIR(mode):
        return f"cannot be read: {os.strerror(errno.EISDIR)}"
    return "" if stat.S_ISREG(mode) else "cannot be read: it is no regular file"


def link_fault(root: StrPath, place: str) -> str:
    """What is to be said of a link in a results folder; "" of anything else.

    Args:
        root, place: the results folder, and the name relative to it.
    """
    if Path(root, place).is_symlink():
        return "is a link, and links are not followed: put there what it points to"
    return ""


def listing(root: StrPath) -> list[str]:
    """The names of everything below a folder that is no folder, and of folders whose name a file should have.

    They are relative and sorted. Links are named and not followed. The scratch folders of killed jobs,
    `.<file>.partial`, are named and not entered.
    """
    found = []
    for folder, inner, files in os.walk(root):
        leaves = [
            name
            for name in inner
            if name.endswith((".partial", ".nc", ".tmp")) or Path(folder, name).is_symlink()
        ]
        inner[:] = [name for name in inner if not name.endswith(".partial")]
        found += [relative(Path(folder, name), root) for name in (*files, *leaves)]
    return sorted(found)
