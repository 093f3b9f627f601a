"""Whether a results folder is as it was written: every file, its place, and the files that it was made from.

problems = integrity.verify_tree("results/digits") + manifest.check_manifest("results/digits")
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

import xarray as xr

from rodflow.store import artifact
from rodflow.store.digests import digest_fault
from rodflow.store.files import (
    ArtifactError,
    Problem,
    StrPath,
    link_fault,
    listing,
    place_fault,
    sha256,
)

Each = Callable[
    [Callable[[str], list[Problem]], Iterable[str]],
    Iterable[list[Problem]],
]
"""As the function `map`: perhaps that of a pool of processes."""


def verify_tree(root: StrPath, each: Each = map) -> list[Problem]:
    """Every artifact below the results root that is damaged, misplaced or out of date.

    Checks each file as :func:`rodflow.store.artifact.verify` does, that it is a plain file and no link, that it stands
    where it was written (two swapped files do not), that its inputs are the files it was made from, and that no killed
    run left a temporary file or what it would continue from.

    Args:
        root: the results folder.
        each: how a function is called for every file, such as the `map` of a pool of processes.
    """
    names = listing(root)
    places = [place for place in names if place.endswith(".nc")]
    digests = {}
    for place in places:
        if not place_fault(root, place):
            try:
                digests[place] = sha256(Path(root, place))
            except ArtifactError:
                continue  # what cannot be read is named below
    found = each(functools.partial(problems_of, root=root, digests=digests), places)
    problems = [problem for own in found for problem in own]
    if not places:
        problems.append(Problem(".", "no artifact below it"))
    return problems + [
        Problem(place, words) for place in names if (words := _left_over(place, root))
    ]


def _left_over(place: str, root: StrPath) -> str:
    """What is wrong with a name that is of no artifact, "" if nothing is."""
    name = PurePosixPath(place).name
    if name.startswith(".") and name.endswith(".tmp"):
        return "left by a killed run: delete it"
    if name.startswith(".") and name.endswith(".partial"):
        return "left by a killed run: run again, which continues there, or delete it"
    return "" if name.endswith(".nc") else link_fault(root, place)


def problems_of(place: str, root: StrPath, digests: Mapping[str, str]) -> list[Problem]:
    """What is wrong with one artifact of a results folder.

    Args:
        place: the file, relative to the folder.
        root: the results folder.
        digests: file -> its SHA-256; that of an input which is not among them is taken here.
    """
    if fault := place_fault(root, place):
        return [Problem(place, fault)]
    path = Path(root, place)
    try:
        with artifact.opened(path) as dataset, artifact.unreadable(path):
            if fault := digest_fault(dataset):
                return [Problem(place, fault)]
            problems = _stale(dataset, place, root, digests)
            if (written := dataset.attrs["artifact"]) != place:
                words = f"was written as {written}: moved or swapped"
                problems.insert(0, Problem(place, words))
            return problems
    except ArtifactError as error:
        return [Problem(place, error.what)]
    except MemoryError:
        return [Problem(place, "needs more memory than there is")]


def _stale(
    dataset: xr.Dataset, place: str, root: StrPath, digests: Mapping[str, str]
) -> list[Problem]:
    """The inputs of an artifact that are not the files it was made from."""
    problems = []
    for name, recorded in artifact.inputs(dataset).items():
        source = recorded["path"]
        fault = place_fault(root, source)
        if not fault:
            try:
                found = digests.get(source) or sha256(Path(root, source))
                fault = "" if found == recorded["sha256"] else "is not the file it was made from"
            except ArtifactError as error:
                fault = error.what
        if fault:
            problems.append(Problem(place, f"input {name}: {source} {fault}", source))
    return problems
