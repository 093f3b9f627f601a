"""Data sets: what is in them, how CIFAR-10 is found and fetched, and which archives are refused."""

import functools
import gzip
import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import xarray as xr

from rodflow.config.paths import PathError
from rodflow.problem import labelled
from rodflow.problem.datasets import cifar10 as archive_of
from rodflow.problem.labelled import DatasetError
from rodflow.store import artifact

CUT = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar-10-binary-6k.tar.gz"
needs_cut = pytest.mark.skipif(not CUT.exists(), reason="the cut CIFAR-10 archive is not here")
BATCHES = [f"data_batch_{k}.bin" for k in range(1, 6)]


@pytest.fixture(autouse=True)
def _no_archive_or_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("RODFLOW_CIFAR10", raising=False)
    monkeypatch.setenv("RODFLOW_CACHE", str(tmp_path / "cache"))


def records(count: int = 4, seed: int = 0) -> np.ndarray:
    """Random records of the binary layout; the labels run through the ten classes."""
    content = np.random.default_rng(seed).integers(256, size=(count, 3073), dtype=np.uint8)
    content[:, 0] = (np.arange(count) + seed) % 10
    return content


def batches() -> dict[str, bytes]:
    return {name: records(seed=4 * k).tobytes() for k, name in enumerate(BATCHES)}


def member(name: str, **fields) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(entry, key, value)
    return entry


def store(path: Path, files: dict[str, bytes] | None = None, *extra: tarfile.TarInfo) -> Path:
    """A gzipped tar archive of the files (by default all training batches) and extra members."""
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member("cifar-10-batches-bin", type=tarfile.DIRTYPE))
        for name, content in (batches() if files is None else files).items():
            entry = member(f"cifar-10-batches-bin/{name}", size=len(content))
            archive.addfile(entry, io.BytesIO(content))
        for entry in extra:
            archive.addfile(entry)
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cifar10(path: Path, **settings) -> xr.Dataset:
    known = {"name": "cifar10", "samples": None, "archive": str(path), "sha256": digest(path)}
    return labelled.load(known | settings)


def refusal(settings: dict) -> str:
    with pytest.raises(DatasetError) as error:
        labelled.load(settings)
    assert "\n" not in str(error.value)
    return str(error.value)


# Digits


def test_digits_are_the_first_of_scikit_learn_in_stored_order():
    data = labelled.load({"name": "digits", "samples": 100})
    digits = sklearn.datasets.load_digits()
    pixels = data["image"].values[..., 0] * data.attrs["standard_deviations"] + data.attrs["means"]
    np.testing.assert_allclose(pixels, digits.images[:100], atol=1e-5)
    np.testing.assert_array_equal(data["label"], digits.target[:100])


def test_digits_have_mean_0_and_variance_1_over_the_selection():
    image = labelled.load({"name": "digits", "samples": 1000})["image"].astype("float64")
    assert float(image.mean()) == pytest.approx(0, abs=1e-6)
    assert float(image.var()) == pytest.approx(1, abs=1e-6)


def test_unit_scaling_divides_by_the_brightest_possible_pixel():
    data = labelled.load({"name": "digits", "samples": 20, "scaling": "unit"})
    pixels = sklearn.datasets.load_digits().images[:20]
    np.testing.assert_array_equal(data["image"].squeeze("channel"), pixels / 16)


def test_targets_are_one_hot():
    data = labelled.load({"name": "digits", "samples": 50})
    np.testing.assert_array_equal(data["target"].sum("class"), 1)
    np.testing.assert_array_equal(data["target"].argmax("class"), data["label"])


def test_classes_are_selected_and_numbered_anew_in_the_order_given():
    data = labelled.load({"name": "digits", "samples": 20, "classes": [7, 3]})
    target = sklearn.datasets.load_digits().target
    chosen = np.flatnonzero((target == 3) | (target == 7))[:20]
    np.testing.assert_array_equal(data["sample"], chosen)
    np.testing.assert_array_equal(data["label"], target[chosen] == 3)
    assert list(data["class"].values) == ["7", "3"]


def test_all_digits_are_taken_where_no_number_is_given():
    assert labelled.load({"name": "digits"}).sizes["sample"] == 1797


def test_variables_have_the_documented_types_and_descriptions():
    data = labelled.load({"name": "digits", "samples": 10})
    types = {name: str(variable.dtype) for name, variable in data.data_vars.items()}
    assert types == {"image": "float32", "label": "int32", "target": "float32"}
    assert data["image"].dims == ("sample", "row", "column", "channel")
    for variable in data.data_vars.values():
        assert variable.attrs["units"] == "1"
        assert variable.attrs["long_name"]


def test_a_dataset_survives_storage_as_an_artifact(tmp_path):
    data = labelled.load({"name": "digits", "samples": 10})
    artifact.write(data, tmp_path / "dataset.nc", kind="dataset", settings={"name": "digits"})
    read = artifact.read(tmp_path / "dataset.nc", kind="dataset")
    xr.testing.assert_equal(read.load(), data)
    assert read.attrs["archive_sha256"] == data.attrs["archive_sha256"]
    np.testing.assert_array_equal(read.attrs["means"], data.attrs["means"])


def test_importing_the_module_imports_no_jax_and_no_reader_of_a_single_data_set():
    code = "import sys, rodflow.problem.datasets as _; print({'jax', 'sklearn', 'pooch'} & {*sys.modules})"
    environment = {"PYTHONPATH": str(Path(archive_of.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "mnist"}, "name is 'mnist'; it must be one of digits, cifar10"),
        ({}, "name is None; it must be one of"),
        ({"samples": 1798}, "samples is 1798; digits has 1797 images of the chosen classes, so it"),
        ({"samples": 0}, "samples is 0; "),
        ({"size": 16}, "size is 16; the digits have 8 x 8 pixels, so it must be 8"),
        ({"scaling": "none"}, "scaling is 'none'; it must be one of standard, unit"),
        ({"archive": "x"}, "archive is 'x', but digits takes only samples, classes, size"),
        ({"classes": [1, 10]}, "classes is [1, 10]; it must be null or a list without repetition"),
        ({"classes": [1, "1"]}, "classes is [1, '1']; "),
        ({"classes": []}, "classes is []; "),
        ({"name": "cifar10", "size": 12}, "size is 12; CIFAR-10 comes at 32, 16 or 8"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(settings, message):
    given = {"name": "digits"} | settings if settings else {}
    assert refusal(given).startswith(message)


# CIFAR-10 from a local archive


def test_cifar10_reads_the_planes_of_the_records_in_official_order(tmp_path):
    data = cifar10(store(tmp_path / "c.tar.gz"))
    content = np.concatenate([records(seed=4 * k) for k in range(5)])
    pixels = data["image"] * data.attrs["standard_deviations"] + data.attrs["means"]
    planes = content[:, 1:].reshape(20, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(pixels, planes, atol=1e-4)
    np.testing.assert_array_equal(data["label"], content[:, 0])


def test_order_of_the_members_does_not_matter(tmp_path):
    backwards = dict(reversed(batches().items()))
    xr.testing.assert_equal(
        cifar10(store(tmp_path / "a.tar.gz")), cifar10(store(tmp_path / "b.tar.gz", backwards))
    )


def test_cifar10_has_mean_0_and_variance_1_in_each_channel(tmp_path):
    image = cifar10(store(tmp_path / "c.tar.gz"))["image"].astype("float64")
    over = ("sample", "row", "column")
    np.testing.assert_allclose(image.mean(over), 0, atol=1e-6)
    np.testing.assert_allclose(image.var(over), 1, atol=1e-6)


def test_the_test_batch_is_held_out_and_scaled_by_the_training_images(tmp_path):
    held = records(6, seed=3)
    path = store(tmp_path / "a.tar.gz", batches() | {"test_batch.bin": held.tobytes()})
    data, plain = cifar10(path, test=5), cifar10(path)
    np.testing.assert_array_equal(data["image"].values, plain["image"].values)
    pixels = data["test_image"].values * data.attrs["standard_deviations"] + data.attrs["means"]
    planes = held[:5, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(pixels, planes, atol=1e-3)
    assert data["test_label"].values.tolist() == held[:5, 0].tolist()


def test_an_archive_without_a_test_batch_has_no_test_set(tmp_path):
    path = store(tmp_path / "a.tar.gz")
    with pytest.raises(DatasetError, match=r"has no test_batch\.bin"):
        cifar10(path, test=1)


@pytest.mark.parametrize(("size", "block"), [(16, 2), (8, 4)])
def test_smaller_images_are_averages_over_blocks(tmp_path, size, block):
    path = store(tmp_path / "c.tar.gz")
    full, small = cifar10(path), cifar10(path, size=size)
    pixels = [data["image"] * data.standard_deviations + data.means for data in (full, small)]
    averages = pixels[0].coarsen(row=block, column=block).mean()
    np.testing.assert_allclose(pixels[1], averages, atol=1e-4)


def test_cifar10_classes_go_by_name_or_number(tmp_path):
    path = store(tmp_path / "c.tar.gz")
    named = cifar10(path, classes=["dog", "cat"])
    xr.testing.assert_identical(named, cifar10(path, classes=[5, 3]))
    assert list(named["class"].values) == ["dog", "cat"]


def test_more_images_than_the_classes_have_are_refused(tmp_path):
    path = store(tmp_path / "c.tar.gz")
    settings = {"name": "cifar10", "archive": str(path), "sha256": digest(path)}
    text = refusal(settings | {"classes": ["cat"], "samples": 3})
    assert text == (
        f"samples is 3; {path} has 2 images of the chosen classes, so it must be 1 to 2"
    )


def test_equal_pixels_cannot_be_standardised(tmp_path):
    path = store(tmp_path / "c.tar.gz", dict.fromkeys(BATCHES, bytes(3073)))
    with pytest.raises(DatasetError, match="equal pixels cannot be standardised"):
        cifar10(path)


def test_the_environment_names_an_archive(tmp_path, monkeypatch):
    path = store(tmp_path / "c.tar.gz")
    monkeypatch.setenv("RODFLOW_CIFAR10", str(path))
    xr.testing.assert_identical(cifar10(path, archive=None), cifar10(path))


def test_the_settings_go_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("RODFLOW_CIFAR10", str(tmp_path / "absent.tar.gz"))
    assert cifar10(store(tmp_path / "c.tar.gz")).attrs["archive"] == "c.tar.gz"


@pytest.mark.parametrize("named", ["settings", "environment"])
def test_a_tilde_stands_for_the_home_folder(named, tmp_path, monkeypatch):
    path = store(tmp_path / "c.tar.gz")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RODFLOW_CIFAR10", "~/c.tar.gz" if named == "environment" else "elsewhere")
    archive = "~/c.tar.gz" if named == "settings" else None
    xr.testing.assert_identical(cifar10(path, archive=archive), cifar10(path))


def test_the_home_folder_of_nobody_is_refused():
    with pytest.raises(PathError) as refused:
        labelled.load({"name": "cifar10", "archive": "~nobody-of-this-name/c.tar.gz"})
    text = str(refused.value)
    assert text.startswith("dataset.archive is ~nobody-of-this-name/c.tar.gz; the home folder")


def test_nothing_is_written_beside_a_local_archive(tmp_path):
    path = store(tmp_path / "c.tar.gz")
    cifar10(path)
    assert [*tmp_path.rglob("*")] == [path]


# Archives that are refused


def test_an_unknown_archive_is_refused_with_both_hashes(tmp_path):
    path = store(tmp_path / "c.tar.gz")
    text = refusal({"name": "cifar10", "archive": str(path)})
    assert text.startswith(f"archive {path} has SHA-256 {digest(path)}, expected c4a38c50")
    assert all(known in text for known in archive_of.CIFAR10_ARCHIVES.values())


def test_an_archive_without_the_hash_of_the_settings_is_refused(tmp_path):
    path, wanted = store(tmp_path / "c.tar.gz"), "0" * 64
    text = refusal({"name": "cifar10", "archive": str(path), "sha256": wanted})
    assert f"has SHA-256 {digest(path)}, expected {wanted}; " in text


def test_an_absent_archive_is_named(tmp_path):
    text = refusal({"name": "cifar10", "archive": str(tmp_path / "absent.tar.gz")})
    assert text.startswith(f"archive {tmp_path / 'absent.tar.gz'} cannot be read (No such file")


def refused(path: Path) -> str:
    return refusal({"name": "cifar10", "archive": str(path), "sha256": digest(path)})


@pytest.mark.parametrize("name", ["/etc/passwd", "../escape", "cifar-10-batches-bin/../../escape"])
def test_a_member_outside_the_archive_is_refused(tmp_path, name):
    path = store(tmp_path / "c.tar.gz", None, member(name))
    assert refused(path).startswith(f"{path}: member {name!r} lies outside the archive; take")
    assert [*tmp_path.rglob("*")] == [path]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_member_that_is_no_file_is_refused(tmp_path, kind):
    entry = member("cifar-10-batches-bin/link", type=kind, linkname="/etc/passwd")
    text = refused(store(tmp_path / "c.tar.gz", None, entry))
    assert "member 'cifar-10-batches-bin/link' is neither a file nor a folder" in text


@pytest.mark.parametrize("length", [0, 3072, 2 * 3073 - 1])
def test_a_truncated_record_is_refused(tmp_path, length):
    files = batches() | {"data_batch_3.bin": bytes(length)}
    text = refused(store(tmp_path / "c.tar.gz", files))
    assert f"c.tar.gz: data_batch_3.bin has {length} bytes, which is no multiple of a rec" in text


def test_a_label_above_9_is_refused(tmp_path):
    content = records()
    content[2, 0] = 10
    text = refused(
        store(tmp_path / "c.tar.gz", batches() | {"data_batch_2.bin": content.tobytes()})
    )
    assert "data_batch_2.bin has label 10 in record 2; labels are 0 to 9" in text


def test_missing_batches_are_named(tmp_path):
    files = {name: content for name, content in batches().items() if name[11] not in "24"}
    text = refused(store(tmp_path / "c.tar.gz", files))
    assert "c.tar.gz has no data_batch_2.bin, data_batch_4.bin; take the binary version" in text


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b\x08\x00broken"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "c.tar.gz"
    path.write_bytes(content)
    assert refused(path).startswith(f"{path} cannot be read as a gzipped tar archive (")


@pytest.mark.parametrize("part", [0.3, 0.6, 0.99])
def test_a_truncated_archive_is_refused(tmp_path, part):
    path = store(tmp_path / "c.tar.gz")
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    assert str(path) in refused(path)


BATCH = "cifar-10-batches-bin/data_batch_1.bin"


def packed(path: Path, *parts: bytes | tuple[bytes, int]) -> Path:
    """A gzip file of these parts, some of them many times over."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        for part in parts:
            content, times = part if isinstance(part, tuple) else (part, 1)
            for _ in range(times):
                file.write(content)
    return path


MIB = bytes(2**20)


def test_a_batch_that_claims_more_than_its_records_is_refused_before_it_is_read(tmp_path):
    header = member(BATCH, size=3073 * 10**6).tobuf()
    text = refused(packed(tmp_path / "c.tar.gz", header))  # there is nothing to read
    assert "data_batch_1.bin has 3073000000 bytes, which is more than 10000 records" in text


def test_another_member_is_not_unpacked_beyond_the_size_of_the_official_archive(tmp_path):
    header = member("cifar-10-batches-bin/zeros", size=2**40).tobuf()
    path = packed(tmp_path / "c.tar.gz", header, (MIB, 200))
    assert f"{path} unpacks to more than 185428576 bytes; take the official" in refused(path)


def test_what_comes_after_the_last_member_is_not_unpacked_either(tmp_path):
    whole = store(tmp_path / "c.tar.gz")
    path = packed(tmp_path / "d.tar.gz", gzip.decompress(whole.read_bytes()), (MIB, 200))
    assert "unpacks to more than" in refused(path)


SPARSE = {
    "GNU.sparse.major": "0",
    "GNU.sparse.minor": "1",
    "GNU.sparse.map": "0,0",
    "GNU.sparse.size": str(3073 * 10**8),
    "GNU.sparse.name": BATCH,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "has holes"),
        ({"GNU.sparse.size": "3073"}, "has holes"),
        ({"GNU.sparse.size": "many"}, "cannot be read as a gzipped tar archive"),
        ({"GNU.sparse.map": "0"}, "has holes"),
    ],
    ids=["huge", "small", "no number", "odd map"],
)
def test_a_member_with_holes_is_refused(tmp_path, change, words):
    entry = member(BATCH, pax_headers=SPARSE | change)
    path = packed(tmp_path / "c.tar.gz", entry.tobuf(tarfile.PAX_FORMAT), bytes(1024))
    assert words in refused(path)


def test_a_batch_that_is_there_twice_is_refused(tmp_path):
    extra = member(BATCH)
    assert f"{BATCH[21:]} is there twice" in refused(store(tmp_path / "c.tar.gz", None, extra))


@pytest.mark.parametrize("place", [-8, -5, -4, -1])
def test_a_checksum_at_the_end_that_does_not_fit_is_refused(tmp_path, place):
    path = store(tmp_path / "c.tar.gz")
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert f"{path} cannot be read as a gzipped tar archive (" in refused(path)


def test_an_archive_that_is_no_file_is_refused_unread(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        text = refusal({"name": "cifar10", "archive": str(path)})
        assert text.startswith(f"archive {path} cannot be read (it is no file); give the path")


# The download


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """A server of this machine that offers a folder; its address, and what it was asked for."""
    folder = tmp_path / "served"
    folder.mkdir()
    store(folder / "c.tar.gz")
    handler = type("Recorder", (Handler,), {"asked": []})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=folder)
    ) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", handler.asked, folder
        httpd.shutdown()
        thread.join()


def test_an_archive_is_fetched_once_into_the_cache(tmp_path, server):
    address, asked, folder = server
    for _ in range(2):
        path = archive_of.fetch(f"{address}/c.tar.gz", digest(folder / "c.tar.gz"))
        assert path == tmp_path / "cache" / "c.tar.gz"
    assert asked == ["/c.tar.gz"]


def test_without_a_local_archive_the_official_one_is_fetched(tmp_path, server, monkeypatch):
    address, _, folder = server
    monkeypatch.setattr(
        archive_of, "fetch", functools.partial(archive_of.fetch, f"{address}/c.tar.gz")
    )
    fetched = cifar10(folder / "c.tar.gz", archive=None)
    xr.testing.assert_identical(fetched, cifar10(folder / "c.tar.gz"))


def test_a_download_with_another_hash_is_refused_and_not_kept(tmp_path, server):
    address, _, folder = server
    with pytest.raises(
        DatasetError, match=r"does not have SHA-256 000.* try again or name"
    ) as error:
        archive_of.fetch(f"{address}/c.tar.gz", "0" * 64)
    assert digest(folder / "c.tar.gz") in str(error.value)
    assert "\n" not in str(error.value)
    assert [*(tmp_path / "cache").iterdir()] == []


def test_a_wrong_file_in_the_cache_is_fetched_again(tmp_path, server):
    address, asked, folder = server
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "c.tar.gz").write_bytes(b"half a fi")
    path = archive_of.fetch(f"{address}/c.tar.gz", digest(folder / "c.tar.gz"))
    assert digest(path) == digest(folder / "c.tar.gz")
    assert asked == ["/c.tar.gz"]


def test_a_refusing_server_is_reported_with_the_remedy(tmp_path, server):
    address, _, _ = server
    with pytest.raises(DatasetError, match=r"cannot be fetched \(404 .*RODFLOW_CIFAR10") as error:
        archive_of.fetch(f"{address}/absent.tar.gz")
    error.value.__cause__.response.close()
    assert "\n" not in str(error.value)
    assert [*(tmp_path / "cache").iterdir()] == []


def test_no_network_is_reported_with_the_remedy(tmp_path):
    message = r"/c.tar.gz cannot be fetched .*; check the network or name a local archive in"
    with pytest.raises(DatasetError, match=message) as error:
        archive_of.fetch("http://127.0.0.1:9/c.tar.gz")
    assert "\n" not in str(error.value)
    assert [*(tmp_path / "cache").iterdir()] == []


# The cut archive of real images


@needs_cut
def test_the_cut_archive_is_known():
    assert digest(CUT) in archive_of.CIFAR10_ARCHIVES.values()


@needs_cut
def test_real_images_are_read_and_standardised():
    data = labelled.load({"name": "cifar10", "samples": 500, "size": 16, "archive": str(CUT)})
    assert dict(data.sizes) == {"sample": 500, "row": 16, "column": 16, "channel": 3, "class": 10}
    assert [str(data["class"].values[k]) for k in data["label"].values[:5]] == [
        "frog",
        "truck",
        "truck",
        "deer",
        "automobile",
    ]
    np.testing.assert_allclose(data["image"].astype("f8").var(("sample", "row", "column")), 1, 1e-5)


@needs_cut
def test_the_cut_archive_has_5000_training_images():
    assert "has 5000 images" in refusal({"name": "cifar10", "samples": 5001, "archive": str(CUT)})
