"""Digests of a dataset, which do not depend on how a file stores it.

`data_sha256` is over variables and coordinates: name, dimensions, type, values, attributes. Two runs of the same
settings on one machine agree in it, because nothing in it depends on the clock. `content_sha256` is over the data and
every other global attribute, the volatile ones (`date_created`, `wall_time_s`) included. Neither depends on
compression, chunks or the order of variables.
"""

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import xarray as xr

from rodflow.store.netcdf import Attribute, attribute, blocks


def canonical(value: object) -> str:
    """JSON in which the same value always has the same text.

    Raises:
        TypeError, ValueError: it is no JSON value, or holds a number that is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def text_sha256(text: str) -> str:
    """The SHA-256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def data_sha256(dataset: xr.Dataset) -> str:
    """The digest of variables and coordinates, which are read a few megabytes at a time."""
    digest = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        text = variable.dtype.kind not in "iuf"
        header = {
            "name": name,
            "coordinate": name in dataset.coords,
            "dims": variable.dims,
            "shape": variable.shape,
            "dtype": "text" if text else variable.dtype.newbyteorder("<").str,
            "attributes": {k: _hashable(v) for k, v in variable.attrs.items()},
        }
        digest.update(canonical(header).encode() + b"\n")
        if text:
            digest.update(canonical(variable.values.tolist()).encode())
        else:
            for _, block in blocks(variable):
                digest.update(_raw(block))
    return digest.hexdigest()


def content_sha256(attributes: Mapping[str, Attribute]) -> str:
    """The digest of global attributes, through which the data come in as `data_sha256`."""
    kept = {k: _hashable(v) for k, v in attributes.items() if k != "content_sha256"}
    return text_sha256(canonical(kept))


def digest_fault(dataset: xr.Dataset) -> str:
    """The first part of an artifact that does not fit its digest, "" if all do."""
    attributes = dataset.attrs
    if text_sha256(attributes["settings"]) != attributes["settings_sha256"]:
        return "the attribute settings differs from settings_sha256"
    if data_sha256(dataset) != attributes["data_sha256"]:
        return "a variable or coordinate differs from data_sha256"
    if content_sha256(attributes) != attributes["content_sha256"]:
        return "a global attribute differs from content_sha256"
    return ""


def _hashable(value: Attribute) -> str | list[str] | dict[str, str]:
    value = attribute(value)
    if isinstance(value, np.ndarray):
        return {value.dtype.newbyteorder("<").str: _raw(value).hex()}
    return value


def _raw(values: np.ndarray) -> memoryview:
    """The bytes of an array, little-endian, the last dimension fastest."""
    values = values.astype(values.dtype.newbyteorder("<"), order="C", copy=False)
    return values.reshape(-1).view(np.uint8).data
