"""How a dataset becomes bytes: types, chunks and filters of NetCDF, written and read a few megabytes at a time.

Files that were written are never changed, so that locks protect nothing. HDF5 takes one on every file that it opens,
and fails on a file system without locks, such as NFS without its lock daemon. It is told not to, here and once, unless
the environment says otherwise: `HDF5_USE_FILE_LOCKING`, which it looks at when it is loaded.
"""

import io
import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING

LOCKING = "HDF5_USE_FILE_LOCKING"
os.environ.setdefault(LOCKING, "FALSE")

import h5py  # noqa: E402
import netCDF4  # noqa: E402
import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402
from typing_extensions import Buffer  # noqa: E402

from rodflow.store.checkpoint import let_go  # noqa: E402
from rodflow.store.files import StrPath  # noqa: E402

if TYPE_CHECKING:
    from xarray.backends.h5netcdf_ import H5NetCDFArrayWrapper

Attribute = str | list[str] | np.ndarray
"""What NetCDF has attributes of: a text, several texts, or a vector of numbers."""

Place = tuple[slice | EllipsisType, ...]

CHUNK = 4 * 2**20
"""Bytes of a chunk before compression, and of what is read or written at a time."""

_DENSEST = 1100  # how many bytes one compressed byte stands for at most: deflate reaches 1032

# Files are read by whole chunks, once: a cache for those of each variable would hold up to the whole file.
netCDF4.set_chunk_cache(size=2**20)


def plain(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset as it will be read back, without what an earlier file said of its storage.

    Raises:
        TypeError: it holds something that NetCDF has no type for.
    """
    dataset = dataset.drop_encoding()
    for name, variable in list(dataset.variables.items()):
        if variable.dtype == bool:
            dataset[name] = variable.astype(np.int8)
    for name, variable in dataset.variables.items():
        kind, size = variable.dtype.kind, variable.dtype.itemsize
        if kind == "O" and not all(isinstance(text, str) for text in variable.values.flat):
            raise TypeError(f"{name} holds objects that are no text")
        if kind not in "iufUTO" or (kind == "f" and size not in (4, 8)):
            raise TypeError(f"{name} has the type {variable.dtype}")
        variable.attrs = {k: attribute(v, f"{name}.{k}") for k, v in variable.attrs.items()}
    dataset.attrs = {k: attribute(v, k) for k, v in dataset.attrs.items()}
    return dataset


def attribute(value: object, name: str = "") -> Attribute:
    """An attribute as NetCDF has it.

    Args:
        value: a text, a number, a boolean, or a vector of one of them.
        name: of the attribute, for the message.

    Raises:
        TypeError: it is no text, number or vector of them.
    """
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.ndim <= 1 and array.dtype.kind in "UT":
        texts = array.reshape(-1).tolist()
        return texts[0] if len(texts) == 1 else texts
    if array.ndim <= 1 and array.dtype.kind in "biuf":
        return array.reshape(-1).astype(np.int8 if array.dtype == bool else array.dtype)
    raise TypeError(f"the attribute {name} is a {type(value).__name__}")


# Writing


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset to a file, in the HDF5 1.10 format, which checksums its own metadata.

    What the disk refuses is kept from the HDF5 library, which would be left with an open file that
    it can neither write nor close, and is raised as an ordinary error afterwards.

    Args:
        dataset: as `plain` makes it.
        path: a file that is there already; what it holds is lost.

    Raises:
        OSError: the disk refuses.
    """
    with _Patient(path) as file:
        try:
            versions = {"libver": ("v110", "v110")}
            store = xr.backends.H5NetCDFStore.open(file, mode="w", driver_kwds=versions)
            try:
                encoding = {
                    name: _encoding(variable) for name, variable in dataset.variables.items()
                }
                dataset.dump_to_store(store, encoding=encoding, writer=_ByBlocks(dataset, file))
            finally:
                store.close()
        except Exception:
            if file.error is None:
                raise
        if file.error is not None:
            raise file.error


def _encoding(variable: xr.Variable) -> dict[str, object]:
    """Chunks and filters of a variable, as the arguments of xarray's backend.

    Shuffled zlib at level 1 saves 12% of float32 weights (unshuffled 7%, and slower); level 4 takes
    15% longer and level 6 twice as long, for less than one percent more. Fletcher32 costs nothing
    measurable and lets other readers notice damage.
    """
    if variable.dtype.kind not in "iuf":
        return {}
    encoding: dict[str, object] = {"_FillValue": None}
    if variable.size and variable.ndim:
        chunks = list(variable.shape)
        if "snapshot" in variable.dims:
            axis = variable.dims.index("snapshot")
            chunks[: axis + 1] = [1] * (axis + 1)
        else:
            row = variable.nbytes // chunks[0]
            chunks[0] = min(chunks[0], max(1, CHUNK // row))
        filters = {"zlib": True, "complevel": 1, "shuffle": True, "fletcher32": True}
        encoding |= filters | {"chunksizes": tuple(chunks)}
    return encoding


class _Patient(io.FileIO):
    """A file that takes everything: the first error is kept, and what is written after it is lost.

    Attributes:
        error: what the disk refused.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "r+")
        self.error: OSError | None = None

    def write(self, content: Buffer) -> int:
        view = memoryview(content).cast("B")
        done = 0
        while done < len(view) and self.error is None:
            try:
                done += super().write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return self.tell() if size is None else size


class _ByBlocks(xr.backends.common.ArrayWriter):
    """Writes variables block by block, and stops when the disk refuses."""

    __slots__ = ("dataset", "file")

    def __init__(self, dataset: xr.Dataset, file: _Patient) -> None:
        super().__init__()
        self.dataset, self.file = dataset, file

    def add(
        self, source: np.ndarray, target: "H5NetCDFArrayWrapper", region: Place | None = None
    ) -> None:
        if source.dtype.kind not in "iuf":
            return super().add(source, target, region)
        for place, block in blocks(self.dataset.variables[target.variable_name]):
            target[place] = block
            if self.file.error is not None:
                raise self.file.error


# Reading


def decoded(source: StrPath, *, create_default_indexes: bool = False) -> xr.Dataset:
    """The dataset in a file, its values and attributes as stored and not yet read.

    It is read by netCDF4, which opens a file in a fifth of the time of h5netcdf. That one writes, for it takes a file
    object.

    Args:
        source: the file.
        create_default_indexes: whether a coordinate of its own dimension is an index, for which its values are read.
    """
    return xr.open_dataset(
        source,
        engine="netcdf4",
        mask_and_scale=False,
        decode_times=False,
        decode_timedelta=False,
        concat_characters=False,
        create_default_indexes=create_default_indexes,
    )


def blocks(variable: xr.Variable) -> Iterator[tuple[Place, np.ndarray]]:
    """Parts of a variable with their places, in the order of its bytes: whole chunks, of a few megabytes."""
    for place in _places(variable):
        block = variable[place].values
        yield place, block
        let_go(block)


def _places(variable: xr.Variable) -> Iterator[Place]:
    if variable.nbytes <= CHUNK or not variable.ndim:
        yield (...,)
        return
    axis = variable.dims.index("snapshot") if "snapshot" in variable.dims else 0
    row = variable.nbytes // math.prod(variable.shape[: axis + 1])
    rows = max(1, CHUNK // row)
    for before in itertools.product(*(range(size) for size in variable.shape[:axis])):
        for first in range(0, variable.shape[axis], rows):
            yield (*(slice(at, at + 1) for at in before), slice(first, first + rows))


def form_fault(path: StrPath) -> str:
    """Why a file is not to be read as a dataset, though it may be valid HDF5; "" if it may be.

    HDF5 follows links to other files, and reads the values of a variable from any file that it names. It makes up
    values that were never written, as many as a shape claims, and groups may hold each other. A file of ours has none
    of these.

    Raises:
        OSError: it is no HDF5.
    """
    with h5py.File(path, "r", locking=False) as file:
        names: list[bytes] = []
        file.id.links.visit(names.append)
        claimed = 0
        for name in names:
            if file.id.links.get_info(name).type != h5py.h5l.TYPE_HARD:
                return (
                    f"holds the link {name.decode(errors='replace')!r}, where a variable should be"
                )
            one = h5py.h5o.open(file.id, name)
            if not isinstance(one, h5py.h5d.DatasetID):
                return f"holds {name.decode(errors='replace')!r}, which is no variable"
            how = one.get_create_plist()
            if how.get_layout() == h5py.h5d.VIRTUAL or how.get_external_count():
                return f"keeps {name.decode(errors='replace')!r} in another file"
            claimed += math.prod(one.shape or ()) * one.get_type().get_size()
    size = os.stat(path).st_size
    if claimed > _DENSEST * size:
        return f"claims {claimed} bytes of values, which {size} bytes cannot hold"
    return ""
