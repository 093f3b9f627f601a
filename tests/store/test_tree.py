"""A results folder as one tree: every artifact at its place, labelled, and read where it is asked for."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from rodflow.store import artifact
from rodflow.store.files import ArtifactError
from rodflow.store.tree import ResultsError, across, open_results
from synthetic_results import write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, two optimizers, and two seeds of one of them."""
    folder = tmp_path_factory.mktemp("results") / "small"
    images = xr.Dataset({"image": (("sample", "pixel"), np.ones((2, 3)))})
    artifact.write(images, folder / "dataset.nc", kind="dataset", root=folder)
    for optimizer, seed in (("gd", 0), ("gd", 1), ("adam", 0)):
        write_run(folder, optimizer, "mlp", seed, flows=("stable", "rod"))
    return folder


def test_each_artifact_is_the_node_of_its_path(folder):
    with open_results(folder) as tree:
        places = {path.relative_to(folder).as_posix() for path in folder.rglob("*.nc")}
        assert {f"{node.path[1:]}.nc" for node in tree.leaves} == places
        for place in places:
            stored = artifact.read(folder / place)
            opened = tree[place.removesuffix(".nc")].to_dataset()
            labels = ["model", "optimizer", "seed", "process"]
            extra = [name for name in labels if name not in stored.variables]
            assert opened.drop_vars(extra, errors="ignore").identical(stored)


def test_an_artifact_says_of_which_process_of_which_run_it_is(folder):
    with open_results(folder) as tree:
        for place in ("mlp/gd/seed1/rod", "mlp/gd/seed1/sharpness/rod"):
            coords = tree[place].coords
            labels = [coords[name].item() for name in ("model", "optimizer", "seed", "process")]
            assert labels == ["mlp", "gd", 1, "rod"]
        compared = tree["mlp/adam/seed0/comparison"]
        assert compared["optimizer"].item() == "adam"
        assert compared["process"].values.tolist() == ["discrete", "stable", "rod"]
        assert not tree["dataset"].coords.keys() & {"model", "seed"}


def test_values_are_read_where_they_are_asked_for(folder):
    with open_results(folder) as tree:
        node = tree["mlp/gd/seed0/rod"]
        assert not node["weights"].variable._in_memory
        last = node["weights"].isel(snapshot=-1).values
        assert not node["weights"].variable._in_memory
    stored = artifact.read(folder / "mlp/gd/seed0/rod.nc")["weights"]
    np.testing.assert_array_equal(last, stored[-1])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at /proc")
def test_a_tree_that_is_left_holds_no_file(folder):
    def held() -> list[str]:
        found = []
        for one in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # the listing's own
                found.append(os.readlink(f"/proc/self/fd/{one}"))
        return [place for place in found if place.startswith(str(folder))]

    with open_results(folder) as tree:
        tree["mlp/gd/seed0/rod"]["loss"].max()
        assert held()
    assert not held()


def test_runs_of_a_sweep_are_nodes_with_their_group(folder, tmp_path):
    write_run(tmp_path / "sweeps/rates/0.1", "gd", flows=("rod",))
    with open_results(tmp_path) as tree:
        node = tree["sweeps/rates/0.1/mlp/gd/seed0/rod"]
        assert node["group"].item() == "sweeps/rates/0.1"
        with pytest.raises(ResultsError, match="no run has loss in rod"):
            across(tree, "rod", "loss")


def test_a_variable_of_all_runs_is_one_array_with_gaps(folder):
    with open_results(folder) as tree:
        errors = across(tree, "comparison", "error_last")
        losses = across(tree, "rod", "loss")
        statuses = across(tree, "comparison", "status")
    assert errors.dims[:3] == losses.dims[:3] == ("model", "optimizer", "seed")
    assert dict(errors.sizes) == {"model": 1, "optimizer": 2, "seed": 2, "process": 3}
    assert np.isnan(errors.sel(optimizer="adam", seed=1)).all()
    assert (statuses.sel(optimizer="adam", seed=1) == "").all()
    for optimizer, seed in (("gd", 0), ("gd", 1), ("adam", 0)):
        run = folder / f"mlp/{optimizer}/seed{seed}"
        stored = artifact.read(run / "comparison.nc")
        chosen = {"model": "mlp", "optimizer": optimizer, "seed": seed}
        found = errors.sel(chosen, drop=True).sel(process=stored["process"])
        np.testing.assert_array_equal(found, stored["error_last"])
        found = statuses.sel(chosen, drop=True).sel(process=stored["process"])
        assert found.values.tolist() == stored["status"].values.tolist()
        loss = artifact.read(run / "rod.nc")["loss"]
        np.testing.assert_array_equal(losses.sel(chosen, drop=True).sel(step=loss["step"]), loss)


def test_an_unknown_variable_is_one_line(folder):
    with open_results(folder) as tree, pytest.raises(ResultsError) as error:
        across(tree, "rod", "losses")
    assert str(error.value) == f"{folder}: no run has losses in rod"


def test_a_folder_without_results_is_one_line(tmp_path):
    with pytest.raises(ResultsError, match="no results here; run"):
        open_results(tmp_path)


def test_a_damaged_file_is_named_and_nothing_stays_open(folder, tmp_path):
    write_run(tmp_path, "gd", flows=("rod",))
    path = tmp_path / "mlp/gd/seed0/rod.nc"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"rod\.nc: has no seal"):
        open_results(tmp_path)
    path.unlink()
    path.symlink_to(folder / "mlp/gd/seed0/rod.nc")
    with pytest.raises(ArtifactError, match=r"rod\.nc: cannot be read: it is a link"):
        open_results(tmp_path)
