"""What tests of the store share: a small dataset, a file of it, a results folder, and a foreign hand."""

import hashlib
from pathlib import Path

import h5netcdf
import numpy as np
import xarray as xr

from rodflow.store import artifact
from rodflow.store.digests import content_sha256, text_sha256
from rodflow.store.netcdf import plain, write_netcdf

SETTINGS = {"optimizer": {"name": "adam", "learning_rate": 0.005}, "seed": 0}


def trajectory(snapshots: int = 4, parameters: int = 500) -> xr.Dataset:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(snapshots, parameters)).astype(np.float32)
    return xr.Dataset(
        {
            "weights": (("snapshot", "parameter"), weights, {"long_name": "weights", "units": "1"}),
            "loss": ("step", rng.random(20), {"long_name": "training loss", "units": "1"}),
        },
        coords={"snapshot": 5 * np.arange(snapshots), "step": np.arange(20)},
        attrs={"process": "discrete"},
    )


def store(path: Path, dataset: xr.Dataset | None = None, **provenance) -> Path:
    provenance = {"kind": "trajectory", "settings": SETTINGS} | provenance
    artifact.write(trajectory() if dataset is None else dataset, path, **provenance)
    return path


def tree(root: Path) -> Path:
    """A results root: a data set, two trajectories of it, a comparison of the two."""
    options = {"root": root, "settings": SETTINGS}
    data = store(root / "dataset.nc", kind="dataset", **options)
    runs = {}
    for seed, name in enumerate(["discrete", "rod"]):
        dataset = trajectory() + seed
        runs[name] = store(root / f"gd/{name}.nc", dataset, inputs={"dataset": data}, **options)
    store(root / "gd/comparison.nc", kind="comparison", inputs=runs, **options)
    return root


def edit(path: Path, change, *, seal: bool = True) -> None:
    """Change a stored file as another program would, and seal it again unless told not to."""
    with h5netcdf.File(path, "r+") as file:
        change(file)
    if seal:
        image = path.read_bytes()
        path.write_bytes(image + f"\nsha256:{hashlib.sha256(image).hexdigest()}\n".encode())


def named(problems) -> dict[str, str]:
    return {problem.path: problem.what for problem in problems}


class Clock:
    """Stands in for datetime, and stands still."""

    @staticmethod
    def now(zone):
        return Clock

    @staticmethod
    def isoformat(timespec):
        return "2026-01-01T00:00:00+00:00"


def forge(path: Path, **attributes) -> None:
    """Other global attributes, with digests and a seal that fit, as the library would write them."""
    data = plain(artifact.read(path))
    data.attrs |= attributes
    data.attrs["settings_sha256"] = text_sha256(str(data.attrs["settings"]))
    data.attrs |= {"content_sha256": content_sha256(data.attrs)} | attributes
    path.write_bytes(b"")
    write_netcdf(data, path)
    image = path.read_bytes()
    path.write_bytes(image + f"\nsha256:{hashlib.sha256(image).hexdigest()}\n".encode())
