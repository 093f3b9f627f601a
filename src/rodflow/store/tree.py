"""A results folder as one labelled tree over model, optimizer, seed and process, read where it is asked for.

    tree = open_results("results/digits")
    tree["mlp/adam/seed0/rod"]["loss"]                      # one process of one run, by step
    tree["mlp/adam/seed0/sharpness/rod"]["eigenvalue"]      # the leading eigenvalues along it, by snapshot
    across(tree, "comparison", "error_last").sel(process="rod").mean("seed")

The path of a node is that of its file without `.nc`, so that any artifact is found where the folder has it: runs of
sweeps below `sweeps/`, `dataset` and what is of no run at the top.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from rodflow.config.paths import placed
from rodflow.errors import RodflowError
from rodflow.store import artifact
from rodflow.store.files import ArtifactError, listing, place_fault
from rodflow.store.manifest import listed

_RUN = re.compile(
    r"(?:(?P<group>sweeps/[^/]+/[^/]+)/)?(?P<model>[^/]+)/(?P<optimizer>[^/]+)/seed(?P<seed>\d+)/(?P<name>.+)"
)


class ResultsError(RodflowError, LookupError):
    """A results folder that has not what is asked of it; one line with the folder or the name."""


def open_results(folder: str | Path) -> xr.DataTree:
    """Open every artifact of a results folder as one tree, without reading the variables.

    Each artifact of a run has the scalar coordinates `model`, `optimizer` and `seed`, one of a process also `process`,
    and one of a sweep `group`. Values come from the files when they are first used, and exactly as they were stored.
    The bytes of each file are compared with its seal when it is opened. Whether the files belong together is the
    audit's question. `close()` of the tree, or leaving it as a context, closes the files.

    Args:
        folder: `results/<name>`, complete or not.

    Returns:
        The tree; its attribute `folder` names the folder.

    Raises:
        ResultsError: there is no artifact in the folder.
        ArtifactError: a file is damaged, is no artifact, or is no plain file.

    Example:
        >>> with open_results("results/digits") as tree:  # doctest: +SKIP
        ...     final = tree["mlp/gd/seed0/rod"]["loss"].isel(step=-1)
    """
    folder = placed(folder, key="folder")
    places = [place for place in listing(folder) if listed(place) and place.endswith(".nc")]
    if not places:
        raise ResultsError(
            f"{folder}: no results here; run `make reproduce`, or name results/<name>"
        )
    opened: dict[str, xr.Dataset] = {}
    try:
        for place in places:
            if fault := place_fault(folder, place):
                raise ArtifactError(Path(folder, place), fault)
            data = artifact.opened(Path(folder, place), create_default_indexes=True)
            opened[place] = data
    except BaseException:
        for data in opened.values():
            data.close()
        raise
    nodes = {place.removesuffix(".nc"): _labelled(place, data) for place, data in opened.items()}
    tree = xr.DataTree.from_dict(nodes)
    for place, data in opened.items():
        tree[place.removesuffix(".nc")].set_close(data.close)
    tree.attrs["folder"] = str(folder)
    return tree


def _labelled(place: str, data: xr.Dataset) -> xr.Dataset:
    """An artifact with what its place says of it as scalar coordinates."""
    match = _RUN.fullmatch(place.removesuffix(".nc"))
    if match is None:
        return data
    labels: dict[str, str | int] = {
        "model": match["model"],
        "optimizer": match["optimizer"],
        "seed": int(match["seed"]),
    }
    if match["group"]:
        labels["group"] = match["group"]
    if data.attrs["kind"] in ("trajectory", "sharpness"):
        labels["process"] = match["name"].rpartition("/")[2]
    free = {name: label for name, label in labels.items() if name not in data.variables}
    return data.assign_coords(free)


def across(tree: xr.DataTree, name: str, variable: str) -> xr.DataArray:
    """A variable of all main runs as one array over model, optimizer and seed besides its own dimensions.

    Args:
        tree: from `open_results`.
        name: of an artifact of a run, such as "comparison", "rod" or "sharpness/rod".
        variable: of that artifact.

    Returns:
        The values where a run has them, and NaN (of text, "") elsewhere: the runs of a folder need be no grid, and may
        differ in steps. They are in memory.

    Raises:
        ResultsError: no run has such a variable.
    """
    found = [*_of_runs(tree, name, variable)]
    if not found:
        raise ResultsError(
            f"{tree.attrs.get('folder', 'results')}: no run has {variable} in {name}"
        )
    text = found[0].dtype.kind not in "iuf"
    parts = [one.expand_dims(["model", "optimizer", "seed"]).to_dataset() for one in found]
    fill = "" if text else np.nan
    return xr.combine_by_coords(
        parts, join="outer", fill_value=fill, combine_attrs="drop_conflicts", data_vars="all"
    )[variable]


def _of_runs(tree: xr.DataTree, name: str, variable: str) -> Iterator[xr.DataArray]:
    for node in tree.subtree:
        match = _RUN.fullmatch(node.path.removeprefix("/"))
        if match and not match["group"] and match["name"] == name and variable in node.data_vars:
            array = node[variable].compute().reset_coords(drop=True)
            labels = {"model": match["model"], "optimizer": match["optimizer"]}
            yield array.assign_coords(labels | {"seed": int(match["seed"])}).rename(variable)
