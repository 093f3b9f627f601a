"""The audit under attack: what is done to a file of each kind, and what is then said of which file.

`SIMPLE` is the table of attacks that every kind of file is put through. Those of `FORGERIES` make
every digest fit again, in the end that of the manifest too: then the files that were made from the
forged one name it, or the numbers that are computed again. What no audit can see is in
`test_what_nothing_else_depends_on_can_be_forged`, and said in docs/audit.md.
"""

import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import h5netcdf
import pandas as pd
import pytest
from matplotlib.figure import Figure

from audited_results import rewrite, seal, write_results
from representatives import now
from rodflow.audit import audit as audit_module
from rodflow.audit import curvature
from rodflow.audit.audit import audit
from rodflow.audit.recompute import Recomputed
from rodflow.audit.report import Report, as_json
from rodflow.audit.writing import write
from rodflow.config import plan
from rodflow.config.experiment import Experiment
from rodflow.config.settings import resolve
from rodflow.figures.core.style import Drawing
from rodflow.store import artifact
from rodflow.store.manifest import MANIFEST, check_manifest, digests, write_manifest

CONFIG = {
    "name": "attacked",
    "dataset": {"name": "digits", "samples": 20},
    "models": {"mlp": {"kind": "mlp", "hidden": [2]}},
    "optimizers": {"gd": {"learning_rate": 0.1, "start": 20, "steps": 60, "restart": 40}},
    "flows": ["stable", "rod"],
    "figures": [
        *("tracking", "tracking_summary"),
        *("iterates", "weights_plane", "function_space", "toy", "adam_region"),
    ],
    "replicas": 2,
}
RUN = "mlp/gd/seed0"

ARTIFACTS = {
    "data set": ("dataset.nc", "toy.nc"),
    "discrete run": (f"{RUN}/discrete.nc", f"{RUN}/comparison.nc"),
    "flow": (f"{RUN}/rod.nc", f"{RUN}/stable.nc"),
    "sharpness": (f"{RUN}/sharpness/rod.nc", f"{RUN}/sharpness/stable.nc"),
    "replicas": (f"{RUN}/replicas.nc", "adam_region.nc"),
    "iterates": (f"{RUN}/iterates.nc", f"{RUN}/onset_window.nc"),
    "onset_window": (f"{RUN}/onset_window.nc", f"{RUN}/iterates.nc"),
    "outputs": (f"{RUN}/outputs.nc", f"{RUN}/sharpness/discrete.nc"),
    "comparison": (f"{RUN}/comparison.nc", f"{RUN}/discrete.nc"),
    "toy": ("toy.nc", "dataset.nc"),
    "region of Adam": ("adam_region.nc", f"{RUN}/replicas.nc"),
}
FIGURES = {
    "table": ("figures/tracking_mlp.csv", "figures/tracking_summary.csv"),
    "picture": ("figures/tracking_mlp.png", "figures/tracking_summary.png"),
    "vector graphics": ("figures/tracking_mlp.pdf", "figures/tracking_summary.pdf"),
    "caption": ("figures/tracking_mlp.rst", "figures/tracking_summary.rst"),
}
FILES = ARTIFACTS | FIGURES
"""A file of every kind, and one that it is swapped with."""


# The tree, and an audit that leaves out what is slow and not attacked here


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return resolve(CONFIG)


def plain(figure: plan.Figure, root: Path) -> Drawing:
    """A picture with its title and a table of one row."""
    drawing = Figure(figsize=(1, 1))
    drawing.suptitle(figure.name)
    return Drawing(drawing, pd.DataFrame({"figure": [figure.name], "number": [1.0]}))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, experiment: Experiment) -> Path:
    root = write_results(tmp_path_factory.mktemp("results") / "attacked", experiment, plain)
    kinds = {attacked_kind(root, place) for place in digests(root)}
    assert {attacked_kind(root, place) for place, _ in FILES.values()} == kinds
    return root


def attacked_kind(root: Path, place: str) -> tuple[str, str]:
    kind = artifact.read(root / place).attrs["kind"] if place.endswith(".nc") else "figure"
    return kind, Path(place).suffix


@pytest.fixture
def root(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tree to be attacked."""
    leave_out_what_is_slow(monkeypatch)
    return Path(shutil.copytree(tree, tmp_path / "attacked"))


def leave_out_what_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither figures nor eigenvectors are computed again nor claims judged: see tests/audit/test_audit.py."""
    monkeypatch.setattr(curvature, "check", lambda dataset, samples: iter(()))
    monkeypatch.setattr(audit_module, "_drawn_again", same)
    monkeypatch.setattr(audit_module, "judge", lambda *arguments: ())


def same(figure: plan.Figure, root: Path) -> Recomputed:
    return Recomputed(f"{figure.stem}.csv", "the stored runs", 1, 0.0)


def problems(root: Path, experiment: Experiment) -> dict[str, str]:
    """What an audit says of which files; consequences are apart."""
    return {problem.path: problem.what for problem in audit(root, experiment).problems}


# What is done to a file


def flip_a_byte(root: Path, place: str, other: str) -> None:
    image = bytearray((root / place).read_bytes())
    image[len(image) // 2] ^= 4
    (root / place).write_bytes(image)


def truncate(root: Path, place: str, other: str) -> None:
    image = (root / place).read_bytes()
    (root / place).write_bytes(image[: 2 * len(image) // 3])


def swap(root: Path, place: str, other: str) -> None:
    images = [(root / one).read_bytes() for one in (place, other)]
    for one, image in zip((other, place), images, strict=True):
        (root / one).write_bytes(image)


def edit_an_attribute(root: Path, place: str, other: str) -> None:
    """What describes the content, not the content: of a table its header, of a picture a comment."""
    path = root / place
    if path.suffix == ".nc":
        with h5netcdf.File(path, "r+") as file:
            file.attrs["versions"] = "{}"
        seal(path)
        return
    image = path.read_bytes()
    text = b"tEXtAuthor\0x"
    comment = (len(text) - 4).to_bytes(4) + text + zlib.crc32(text).to_bytes(4)
    changed = {
        ".csv": image.replace(b"figure,", b"Figure,"),
        ".pdf": image.replace(b"/Producer", b"/producer"),
        ".png": image[:33] + comment + image[33:],  # after the header
        ".rst": image + b"\n.. edited\n",
    }
    assert changed[path.suffix] != image
    path.write_bytes(changed[path.suffix])


def edit_its_entry(root: Path, place: str, other: str) -> None:
    edit_manifest(root, place, lambda line: "0" * 64 + line[64:])


def strike_its_entry_out(root: Path, place: str, other: str) -> None:
    edit_manifest(root, place, lambda line: "")


def edit_manifest(root: Path, place: str, change: Callable[[str], str]) -> None:
    """Change the line of a file."""
    path = root / MANIFEST
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(change(one) if one[66:-1] == place else one for one in lines))


def delete(root: Path, place: str, other: str) -> None:
    (root / place).unlink()


SIMPLE: dict[Callable[[Path, str, str], None], tuple[str, str]] = {
    #                               what is said of an artifact,   of a file of a figure
    flip_a_byte: (
        "damaged: its bytes differ from the SHA-256 at its end",
        "differs from its SHA-256 in",
    ),
    truncate: ("has no seal at its end: truncated", "differs from its SHA-256 in the manifest"),
    swap: ("was written as {other}: moved or swapped", "differs from its SHA-256 in the manifest"),
    edit_an_attribute: ("a global attribute differs from content_sha256", "differs from its SHA-"),
    edit_its_entry: ("differs from its SHA-256 in the manifest",) * 2,
    strike_its_entry_out: ("not in the manifest",) * 2,
    delete: ("missing: run `make reproduce`",) * 2,
}


def check_attack(attack, kinds: list[str], root: Path, experiment: Experiment) -> None:
    """Attack a file of each of these kinds: all of them are named, and no other."""
    expected: dict[str, str] = {}
    for kind in kinds:
        place, other = FILES[kind]
        if place not in expected:
            attack(root, place, other)
            words = SIMPLE[attack][kind in FIGURES]
            expected[place] = words.format(other=other)
            if attack is swap:
                expected[other] = words.format(other=place)
    found = problems(root, experiment)
    assert found.keys() == expected.keys()
    for place, words in expected.items():
        assert found[place].startswith(words)


def name(value: object) -> str:
    return getattr(value, "__name__", str(value)).replace("_", " ")


@pytest.mark.parametrize("attack", SIMPLE, ids=name)
def test_attack_on_a_file_of_every_kind_names_them_all(attack, root, experiment):
    check_attack(attack, [*FILES], root, experiment)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("attack", SIMPLE, ids=name)
def test_attack_on_a_single_file_names_it_alone(attack, kind, root, experiment):
    check_attack(attack, [kind], root, experiment)


@pytest.mark.parametrize(
    ("attack", "words"),
    [(truncate, "is not a manifest"), (swap, "cannot be read"), (delete, "missing")],
    ids=name,
)
def test_attack_on_the_manifest_is_named(attack, words, root):
    attack(root, MANIFEST, "dataset.nc")
    (problem,) = check_manifest(root)
    assert problem.path == MANIFEST and problem.what.startswith(words)


def test_flipped_bits_of_the_manifest_are_named(root):
    path = root / MANIFEST
    whole, draw = path.read_bytes(), random.Random(0)
    for place in range(0, len(whole), 30):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        assert check_manifest(root)


@pytest.fixture(scope="module")
def report(tree: Path, experiment: Experiment) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        leave_out_what_is_slow(patch)
        report = audit(tree, experiment)
    assert report.problems == ()
    return report


@pytest.mark.parametrize("name", ["audit.json", "audit.md", "audit.html"])
@pytest.mark.parametrize("attack", [flip_a_byte, truncate, swap], ids=name)
def test_altered_report_of_an_audit_is_named_and_written_again(attack, name, report, root):
    assert write(report, root / "audit.json") == ()  # there was none
    assert write(report, root / "audit.json") == ()
    attack(root, name, "manifest.sha256")
    assert write(report, root / "audit.json") == (root / name,)
    assert (root / "audit.json").read_text() == as_json(report)


# Attacks that make the digests fit


def forge(root: Path, place: str) -> None:
    """Another content of the file, with seal and digests that fit: one number is doubled."""
    path = root / place
    if path.suffix != ".nc":
        path.write_bytes(path.read_bytes().replace(b"1.0", b"2.0") + b"\n")
        return

    def change(data):
        name = next(name for name, values in data.data_vars.items() if values.dtype.kind == "f")
        return data.assign({name: 2 * data[name]})

    rewrite(path, root, change)


def test_forged_files_are_named_by_the_manifest(root):
    for place, _ in FILES.values():
        forge(root, place)
    words = "differs from its SHA-256 in the manifest"
    found = check_manifest(root)
    assert {p.path: p.what for p in found} == {place: words for place, _ in FILES.values()}


FORGERIES = {
    "data set": {f"{RUN}/discrete.nc": "input dataset: dataset.nc is not the file it was made fr"},
    "discrete run": {f"{RUN}/rod.nc": f"input discrete: {RUN}/discrete.nc is not the file"},
    "flow": {f"{RUN}/sharpness/rod.nc": f"input trajectory: {RUN}/rod.nc is not the file it was"},
    "sharpness": {f"{RUN}/comparison.nc": f"input sharpness/rod: {RUN}/sharpness/rod.nc is not"},
    "replicas": {
        f"{RUN}/comparison.nc": f"input replicas: {RUN}/replicas.nc is not the file it was made"
    },
    "iterates": {f"{RUN}/comparison.nc": f"input iterates: {RUN}/iterates.nc is not the file it"},
    "outputs": {f"{RUN}/outputs.nc": "output_error is not output_distance over"},
    "comparison": {f"{RUN}/comparison.nc": "tracking_error["},
}
"""Kind of the forged file, and who says so when the manifest is written again as well."""


@pytest.fixture
def said(root: Path, experiment: Experiment) -> Callable[[str], list[tuple[str, str]]]:
    """Forge the file of a kind and the manifest: what an audit says of which files."""

    def of(kind: str) -> list[tuple[str, str]]:
        forge(root, FILES[kind][0])
        write_manifest(root, accept=True)
        return [(problem.path, problem.what) for problem in audit(root, experiment).problems]

    return of


@pytest.mark.parametrize("kind", now(FORGERIES, "discrete run", "comparison"))
def test_forged_file_and_manifest_are_named_by_what_was_made_from_it(kind, said):
    lines = said(kind)
    for place, words in FORGERIES[kind].items():
        assert [what for path, what in lines if path == place and what.startswith(words)], lines


def test_forged_settings_are_named_by_the_config(root, experiment):
    place = f"{RUN}/onset_window.nc"
    settings = experiment.runs[0].settings
    other = settings | {"optimizer": settings["optimizer"] | {"learning_rate": 0.2}}
    rewrite(root / place, root, lambda data: data, settings=other)
    write_manifest(root, accept=True)
    words = "was made with optimizer.learning_rate 0.2, the config has 0.1: run `make reproduce`"
    assert problems(root, experiment) == {place: words}


def test_swapped_files_with_forged_names_are_named_by_what_was_made_from_them(root, experiment):
    """Each is sealed again as if it had been written where it now stands."""
    place, other = FILES["flow"]
    swap(root, place, other)
    for one in (place, other):
        rewrite(root / one, root, lambda data: data)
    write_manifest(root, accept=True)
    found = problems(root, experiment)
    assert f"{place} is not the file it was made from" in found[f"{RUN}/sharpness/rod.nc"]
    assert f"{other} is not the file it was made from" in found[f"{RUN}/sharpness/stable.nc"]


UNSEEN = ("onset_window", "toy", "region of Adam", "picture", "vector graphics", "caption")


def test_what_nothing_else_depends_on_can_be_forged(root, experiment):
    """Nothing is signed: docs/audit.md says so, and what to compare with. A table is drawn again."""
    assert {*UNSEEN, *FORGERIES} == FILES.keys() - {"table"}
    for kind in UNSEEN:
        forge(root, FILES[kind][0])
    write_manifest(root, accept=True)
    assert problems(root, experiment) == {}
