"""Data sets of files of one's own, the built-in prose, and the transformer that learns from it."""

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from rodflow.config.reference import file_digest
from rodflow.config.settings import ConfigError, resolve
from rodflow.errors import RodflowError
from rodflow.problem import labelled, networks, objective


def load(folder: Path, name: str, file: str, **settings: Any):
    own = {"folder": str(folder), "files": {file: file_digest(folder, file)}}
    return labelled.load({"name": name, name: file, "own": own, **settings})


def test_arrays_keep_whole_numbers_and_targets_any_shape(tmp_path: Path) -> None:
    x, y = np.arange(12).reshape(3, 4), np.arange(6.0).reshape(3, 2, 1)
    np.savez(tmp_path / "a.npz", tokens=x, y=y)
    found = load(tmp_path, "npz", "a.npz", inputs="tokens", targets="y")
    assert found["input"].dtype == np.int32 and found["target"].dtype == np.float32
    np.testing.assert_array_equal(found["input"], x)
    np.testing.assert_array_equal(found["target"], y)
    assert "classes" not in found.attrs


def test_classes_by_number_are_learnt_with_cross_entropy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x=rng.standard_normal((9, 4)), y=np.arange(9) % 3)
    data = load(tmp_path, "npz", "a.npz", inputs="x", targets="y")
    loss, weights = objective.build(data, {"kind": "mlp", "hidden": [5]}, "cross_entropy", 0)
    logits = np.asarray(loss.logits(weights), np.float64)
    chosen = (logits - np.log(np.exp(logits).sum(1, keepdims=True)))[np.arange(9), np.arange(9) % 3]
    np.testing.assert_allclose(loss(weights), -chosen.mean(), rtol=1e-5)


def test_images_of_folders_are_of_each_class_in_turn(tmp_path: Path) -> None:
    colours = {"blue": (0, 0, 250), "red": (200, 0, 0)}
    for name, colour in colours.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (8, 4), colour).save(tmp_path / f"images/{name}/{index}.png")
    found = load(tmp_path, "folder", "images", size=2, samples=4, scaling="unit")
    assert [*found["class"].values] == ["blue", "red"]
    assert [*found["label"].values] == [0, 1, 0, 1]
    np.testing.assert_allclose(found["image"][1, 0, 0], np.array(colours["red"]) / 255)
    assert found["image"].shape == (4, 2, 2, 3)


def test_the_target_of_a_character_is_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("abcabdé and more", encoding="utf-8")
    found = load(tmp_path, "text", "book.txt", context=3, samples=2)
    signs = found.attrs["vocabulary"]
    words = ["".join(signs[place] for place in row) for row in found["input"].values]
    targets = ["".join(signs[place] for place in row) for row in found["target"].values]
    assert (words, targets) == (["abc", "abd"], ["bca", "bdé"])
    assert found.attrs["classes"] == len(signs) == 5


def test_prose_is_the_same_text_wherever_it_is_read() -> None:
    found = labelled.load({"name": "prose", "context": 32, "samples": 8})
    signs = found.attrs["vocabulary"]
    start = "".join(signs[place] for place in found["input"].values.ravel())
    assert start.startswith("Comparisons *********** Unlike C, all comparison operations")
    assert found["input"].shape == (8, 32)
    with pytest.raises(labelled.DatasetError, match=r"have SHA-256 \w+, expected 0000"):
        labelled.load({"name": "prose", "sha256": "0" * 64})


BAD = {
    "is no NumPy archive": ("npz", {"inputs": "x", "targets": "y"}, b"text"),
    "samples is 9; file has 1 sequences": ("text", {"context": 2, "samples": 9}, b"abcd"),
    "cannot be read as text": ("text", {"context": 2}, b"\xff\xfe\xff"),
}


@pytest.mark.parametrize("message", BAD)
def test_a_file_that_is_no_data_set_is_refused_in_one_line(tmp_path: Path, message: str) -> None:
    name, settings, content = BAD[message]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(RodflowError, match=message) as refused:
        load(tmp_path, name, "file", **settings)
    assert "\n" not in str(refused.value)


def archive(*parts: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """A NumPy archive whose inputs are these bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as file:
        file.writestr("x.npy", b"".join(parts))
        file.writestr("y.npy", b"")
    return packed.getvalue()


def header(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


NUMBERS = header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9,)}\n") + bytes(range(36))
DAMAGED = {
    "claims terabytes": archive(
        header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999999,)}\n")
    ),
    "a header without an end": archive(header(b"(" * 9000)),
    "encrypted": archive(NUMBERS).replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01", 1
    ),
    "packed in another way": archive(NUMBERS).replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x00",
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x4d",
        1,
    ),
    "bits of its stream flipped": archive(NUMBERS, method=zipfile.ZIP_DEFLATED).replace(
        archive(NUMBERS, method=zipfile.ZIP_DEFLATED)[40:60], b"\xff" * 20, 1
    ),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_an_archive_that_is_damaged_or_claims_more_than_there_is_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(labelled.DatasetError, match="is no NumPy archive of numbers: "):
        load(tmp_path, "npz", "a.npz", inputs="x", targets="y")


def test_what_is_no_file_is_no_image_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "images/red").mkdir(parents=True)
    os.mkfifo(tmp_path / "images/red/0.png")
    (tmp_path / "images/red/1.png").mkdir()
    with pytest.raises(labelled.DatasetError, match="has no folder with PNG or JPEG images"):
        load(tmp_path, "folder", "images")


def test_a_folder_is_known_by_the_names_and_contents_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "in/a/1.png").write_bytes(b"1")
    first = file_digest(tmp_path, "in")
    (tmp_path / "in/a/1.png").rename(tmp_path / "in/a/2.png")
    assert file_digest(tmp_path, "in") != first
    (tmp_path / "one").write_bytes(b"1")
    assert file_digest(tmp_path, "one") == hashlib.sha256(b"1").hexdigest()


# The transformer


SETTINGS = {"kind": "transformer", "width": 8, "depth": 1, "heads": 2}


def test_a_transformer_sees_no_later_token() -> None:
    network = networks.build(SETTINGS, 11)
    tokens = jax.random.randint(jax.random.key(0), (2, 6), 0, 11)
    parameters = networks.initialise(network, tokens, 0)
    before = network.apply({"params": parameters}, tokens)
    after = network.apply({"params": parameters}, tokens.at[:, 4].set((tokens[:, 4] + 1) % 11))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any()
    assert before.shape == (2, 6, 11)


@pytest.mark.slow
def test_a_transformer_begins_near_the_entropy_of_all_characters() -> None:
    data = labelled.load({"name": "prose", "context": 8, "samples": 4})
    loss, weights = objective.build(data, SETTINGS, "cross_entropy", 0)
    assert abs(float(loss(weights)) - np.log(data.attrs["classes"])) < 0.8
    assert jnp.isfinite(jax.grad(loss)(weights)).all()


def config(**changes: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "dataset": {"name": "prose"},
        "criterion": "cross_entropy",
        "models": {"t": {"kind": "transformer"}},
        "optimizers": {"gd": {"learning_rate": 0.1}},
    } | changes


CONFLICTS = {
    "models.t.kind is cnn, which takes images; prose has text: transformer takes that": {
        "models": {"t": {"kind": "cnn"}}
    },
    "models.t.kind is transformer, which takes text; digits has images: mlp, cnn, vit takes": {
        "dataset": {"name": "digits"}
    },
    "criterion is mse; the targets of prose are whole numbers: take cross_entropy": {
        "criterion": "mse"
    },
    'dataset.npz is "gone.npz"; gone.npz: No such file': {
        "dataset": {"npz": "gone.npz"},
        "models": {"t": {"kind": "mlp"}},
    },
    "dataset.npz is 3; it must be text": {"dataset": {"npz": 3}},
}


@pytest.mark.parametrize("message", CONFLICTS)
def test_a_model_for_other_data_is_refused(message: str) -> None:
    resolve(config())
    with pytest.raises(ConfigError) as refused:
        resolve(config(**CONFLICTS[message]))
    assert str(refused.value).startswith(message)
