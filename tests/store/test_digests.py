"""Digests: the same for the same content, however it is stored, and different for any other."""

import numpy as np
import pytest

from rodflow.store import artifact, netcdf
from stored import Clock, store, trajectory


def test_same_data_same_digest(tmp_path):
    dataset = trajectory()
    shuffled = dataset[["loss", "weights"]]
    first = artifact.read(store(tmp_path / "a.nc", dataset, wall_time=1.0))
    second = artifact.read(store(tmp_path / "b.nc", shuffled, wall_time=2.0))
    assert list(first) != list(second)
    assert first.attrs["data_sha256"] == second.attrs["data_sha256"]
    assert first.attrs["content_sha256"] != second.attrs["content_sha256"]


def test_digests_do_not_depend_on_compression(tmp_path, monkeypatch):
    monkeypatch.setattr(artifact, "datetime", Clock)
    first = artifact.read(store(tmp_path / "a/x.nc"))
    monkeypatch.setattr(netcdf, "_encoding", lambda variable: {"_FillValue": None})
    second = artifact.read(store(tmp_path / "b/x.nc"))
    assert first.weights.encoding["zlib"]
    assert not second.weights.encoding["zlib"]
    assert first.attrs["content_sha256"] == second.attrs["content_sha256"]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.assign(loss=d.loss + 1e-16),
        lambda d: d.assign(loss=d.loss.astype(np.float32)),
        lambda d: d.assign(loss=d.loss.assign_attrs(units="bit")),
        lambda d: d.rename(loss="cost"),
        lambda d: d.rename(parameter="coordinate"),
        lambda d: d.set_coords("loss"),
        lambda d: d.assign_coords(step=d.step + 1),
        lambda d: d.transpose(),
    ],
    ids=["value", "type", "attribute", "name", "dimension", "role", "index", "order"],
)
def test_different_data_different_digest(tmp_path, change):
    first = artifact.read(store(tmp_path / "a.nc"))
    second = artifact.read(store(tmp_path / "b.nc", change(trajectory())))
    assert first.attrs["data_sha256"] != second.attrs["data_sha256"]
