"""The manifest of a results folder: the SHA-256 of every artifact and of every file of a figure.

`manifest.sha256` is a list as `sha256sum` writes it, so that no program of this project is needed to check it:

    cd results/digits && sha256sum --check --quiet manifest.sha256

What else is to be known of a file, its kind and its status, stands in the file. Whoever keeps the SHA-256 of the
manifest itself at a safe place notices any change of the folder.

A manifest that is simply written again would launder whatever was altered since the last one. So a job notes each file
that it is about to put into the folder (`note_writes`), and :func:`write_manifest` lists a file only if a job noted it
or the last manifest has it with the same SHA-256. A call of the workflow asks `altered` before it builds on anything.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from rodflow.store.files import (
    ArtifactError,
    Problem,
    StrPath,
    before_placing,
    link_fault,
    listing,
    place_fault,
    read_bytes,
    reason,
    relative,
    sha256,
    write_bytes,
)

MANIFEST = "manifest.sha256"
"""Name of the manifest in the results root."""

NOTES = ".written"
"""Name of the folder with what jobs wrote since the last manifest, one small file for each."""

REMEDY = "delete it and run again, or if you trust what is there accept it: rodflow accept {root}"
"""What to do about an altered file of a results root."""

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_MOST = 2**26  # bytes of a manifest
_NO_MANIFEST = Problem(MANIFEST, "missing")


def listed(place: str) -> bool:
    """Whether a manifest lists a file of this name: it does all artifacts and the files of figures."""
    name = PurePosixPath(place)
    if any(part.startswith(".") for part in name.parts[:-1]):
        return False
    figure = len(name.parts) == 2 and name.parts[0] == "figures" and not name.name.startswith(".")
    return name.suffix == ".nc" or figure


def digests(root: StrPath) -> dict[str, str]:
    """The SHA-256 of every file that a manifest lists, by its name relative to the results root.

    Raises:
        ArtifactError: one cannot be read, is no plain file, or has a name that is no printable text.
    """
    found = {}
    for place in filter(listed, listing(root)):
        fault = place_fault(root, place)
        if not fault and ("\\" in place or not place.isprintable()):
            fault = "has a name that no list can hold"
        if fault:
            raise ArtifactError(Path(root, place), fault, "delete it")
        found[place] = sha256(Path(root, place))
    return found


def write_manifest(root: StrPath, *, accept: bool = False) -> Path:
    """Store the manifest in the results root, and forget the notes of the jobs.

    Args:
        root: the results folder.
        accept: list everything as it is, even what no job wrote.

    Raises:
        ArtifactError: a file cannot be read, or differs from the last manifest though no job wrote it, or the manifest
            cannot be written.
    """
    present = digests(root)
    if not accept and (problems := _altered(root, present)):
        first = problems[0]
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ArtifactError(Path(root, first.path), f"{first.what}{more}", REMEDY.format(root=root))
    _write(root, present)
    shutil.rmtree(Path(root, NOTES), ignore_errors=True)
    return Path(root, MANIFEST)


def strike(root: StrPath, places: Iterable[str]) -> None:
    """Take files that were deleted on purpose off the manifest, whose date stays.

    Nothing is done where there is no manifest.

    Args:
        root: the results folder.
        places: the files, relative to it; one that is still there stays on the manifest.

    Raises:
        ArtifactError: the manifest is none, or cannot be written.
    """
    recorded = _recorded(root)
    if recorded == _NO_MANIFEST:
        return
    path = Path(root, MANIFEST)
    if isinstance(recorded, Problem):
        raise ArtifactError(path, recorded.what)
    gone = {place for place in places if not os.path.lexists(Path(root, place))}
    kept = {place: digest for place, digest in recorded.items() if place not in gone}
    if len(kept) < len(recorded):
        date = path.stat()
        _write(root, kept)
        os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))


def _write(root: StrPath, digests: Mapping[str, str]) -> None:
    lines = (f"{digest}  {place}\n" for place, digest in sorted(digests.items()))
    write_bytes(Path(root, MANIFEST), "".join(lines).encode())


def check_manifest(root: StrPath) -> list[Problem]:
    """What differs between the stored manifest and the results tree: changed, deleted, added."""
    recorded = _recorded(root)
    if isinstance(recorded, Problem):
        return [recorded]
    present = {place for place in listing(root) if listed(place)}
    problems = []
    for place in sorted(present | recorded.keys()):
        if place not in present:
            problems.append(Problem(place, "missing, though the manifest lists it"))
        elif place not in recorded:
            problems.append(Problem(place, "not in the manifest"))
        elif fault := _difference(root, place, recorded[place]):
            problems.append(Problem(place, fault))
    return problems


def altered(root: StrPath) -> list[Problem]:
    """Every listed file of a results folder that is neither as the manifest says nor as a job wrote it since.

    To be asked before anything is made from these files or listed anew. What is missing is no problem here: it will be
    made.
    """
    present, problems = {}, []
    for place in listing(root):
        if not listed(place):
            if fault := link_fault(root, place):
                problems.append(Problem(place, fault))
            continue
        if fault := place_fault(root, place):
            problems.append(Problem(place, fault))
            continue
        try:
            present[place] = sha256(Path(root, place))
        except ArtifactError as error:
            problems.append(Problem(place, error.what))
    return problems + _altered(root, present)


def _altered(root: StrPath, present: Mapping[str, str]) -> list[Problem]:
    recorded = _recorded(root) if present else {}
    if isinstance(recorded, Problem):
        if recorded != _NO_MANIFEST:
            return [recorded]
        recorded = {}
    problems = []
    for place, digest in sorted(present.items()):
        if recorded.get(place) != digest and not _note(root, place, digest).is_file():
            words = "differs from the manifest" if place in recorded else "is not in the manifest"
            problems.append(Problem(place, f"{words}, and no job wrote it"))
    return problems


def _difference(root: StrPath, place: str, digest: str) -> str:
    if fault := place_fault(root, place):
        return fault
    try:
        same = sha256(Path(root, place)) == digest
    except ArtifactError as error:
        return error.what
    return "" if same else "differs from its SHA-256 in the manifest"


def _recorded(root: StrPath) -> dict[str, str] | Problem:
    """What the stored manifest says, or what is wrong with it."""
    fault = place_fault(root, MANIFEST)
    try:
        if not Path(root, MANIFEST).is_symlink() and not Path(root, MANIFEST).exists():
            return _NO_MANIFEST
        lines = "" if fault else read_bytes(Path(root, MANIFEST), _MOST).decode()
    except (OSError, ValueError) as error:
        fault = f"cannot be read: {reason(error)}"
    if fault:
        return Problem(MANIFEST, fault)
    recorded: dict[str, str] = {}
    for number, line in enumerate(lines.removesuffix("\n").split("\n"), start=1):
        match = _LINE.fullmatch(line)
        if match is None or not listed(match[2]) or match[2] in recorded:
            words = (
                "names a file twice"
                if match and match[2] in recorded
                else "names no SHA-256 and file"
            )
            return Problem(MANIFEST, f"is not a manifest: line {number} {words}")
        recorded[match[2]] = match[1]
    if not lines.endswith("\n"):
        return Problem(MANIFEST, "is not a manifest: its last line is cut off")
    return recorded


# What jobs note


def note_writes(root: StrPath) -> None:
    """From now on this process, a job, notes every listed file that it puts into a results folder.

    It does so before the file takes its name. A job that is killed in between leaves a note of a file that is not
    there, and never a file without its note.
    """
    base = Path(root).absolute()

    def note(complete: Path, path: Path) -> None:
        place = relative(path.absolute(), base)
        if listed(place) and ".." not in PurePosixPath(place).parts:
            digest = sha256(complete)
            if (base / NOTES).is_symlink():
                (base / NOTES).unlink()
            write_bytes(_note(base, place, digest), f"{digest}  {place}\n".encode())

    before_placing.append(note)


def _note(root: StrPath, place: str, digest: str) -> Path:
    name = hashlib.sha256(f"{digest}  {place}".encode(errors="surrogateescape")).hexdigest()
    return Path(root, NOTES, name)
