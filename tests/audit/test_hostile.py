"""An audit of a folder that is somebody else's: all is named, nothing ends it, and text stays text."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from audited_results import write_results
from representatives import now
from rodflow.audit import audit as audit_module
from rodflow.audit import curvature, runs
from rodflow.audit.audit import audit
from rodflow.audit.markdown import as_markdown, escaped
from rodflow.audit.page import as_html
from rodflow.audit.report import Report, as_json
from rodflow.audit.writing import summary, write
from rodflow.cli.commands.audit import _told
from rodflow.config.experiment import Experiment
from rodflow.config.settings import resolve
from rodflow.store.files import ArtifactError, Problem
from rodflow.store.manifest import MANIFEST, write_manifest
from stored import forge

CONFIG = {
    "name": "hostile",
    "dataset": {"name": "digits", "samples": 20},
    "models": {"mlp": {"kind": "mlp", "hidden": [2]}},
    "optimizers": {"gd": {"learning_rate": 0.1, "start": 20, "steps": 60}},
    "flows": ["rod"],
    "figures": ["tracking"],
    "replicas": 2,
}
RUN = "mlp/gd/seed0"
TABLE = "figures/tracking_mlp.csv"


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return resolve(CONFIG)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, experiment: Experiment) -> Path:
    return write_results(tmp_path_factory.mktemp("results") / "hostile", experiment)


@pytest.fixture
def root(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to be attacked; eigenvectors are not looked at."""
    monkeypatch.setattr(curvature, "check", lambda dataset, samples: iter(()))
    return Path(shutil.copytree(tree, tmp_path / "hostile"))


def named(root: Path, experiment: Experiment) -> dict[str, str]:
    return {problem.path: problem.what for problem in audit(root, experiment).problems}


# What is no plain file


def test_a_fifo_a_device_and_a_link_are_named_and_not_read(root, experiment):
    os.mkfifo(root / "x.nc")
    (root / "y.nc").symlink_to("/dev/zero")
    (root / RUN / "rod.nc").unlink()
    os.mkfifo(root / RUN / "rod.nc")
    (root / "figures/tracking_mlp.png").unlink()
    os.mkfifo(root / "figures/tracking_mlp.png")
    (root / TABLE).rename(root / "table")
    (root / TABLE).symlink_to("../table")
    found = named(root, experiment)
    assert found.keys() == {*("x.nc", "y.nc", f"{RUN}/rod.nc", "figures/tracking_mlp.png", TABLE)}
    assert found[f"{RUN}/rod.nc"] == "cannot be read: it is no regular file"
    assert found[TABLE] == "cannot be read: it is a link, and links are not followed"


def test_a_run_behind_a_link_is_named_and_not_entered(root, experiment):
    (root / "mlp").rename(root.parent / "mlp")
    (root / "mlp").symlink_to(root.parent / "mlp")
    found = named(root, experiment)
    assert found["mlp"].startswith("is a link, and links are not followed")
    assert not any(own["reproduced"] for own in audit(root, experiment).counts.values())


@pytest.mark.parametrize("place", now([MANIFEST, "audit.json", "audit.md", "audit.html"], MANIFEST))
def test_a_fifo_in_place_of_a_list_or_a_report_is_not_waited_for(root, experiment, place):
    report = audit(root, experiment)
    (root / place).unlink(missing_ok=True)
    os.mkfifo(root / place)
    if place == MANIFEST:
        assert named(root, experiment) == {MANIFEST: "cannot be read: it is no regular file"}
    else:
        write(report, root / "audit.json")
        assert (root / place).is_file()


# What ends in no traceback


def accepted(root: Path, place: str, **attributes) -> None:
    forge(root / place, **attributes)
    write_manifest(root, accept=True)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"settings": "nope"}, "the attribute settings is no JSON"),
        ({"status": [1, 2]}, "the attribute status is no text"),
        ({"settings": '{"a":' * 400 + "1" + "}" * 400}, "was made with "),
        ({"settings": '{"steps":[' + "9" * 4000 + "]}"}, "was made with "),
        ({"settings": '{"seed":"\\u001b[2K\\ud800"}'}, "was made with "),
    ],
)
def test_odd_attributes_of_an_artifact_are_named(root, experiment, attributes, words):
    accepted(root, f"{RUN}/comparison.nc", **attributes)
    assert named(root, experiment)[f"{RUN}/comparison.nc"].startswith(words)


@pytest.mark.parametrize(
    "content",
    now([b"a" * 300_000 + b"\n", b"\xff\xfe", b"", b"\0\0", b'"' * 1000, b"a,b\n" * 10**5], b""),
    ids=["long field", "no text", "empty", "zeros", "quotes", "many rows"],
)
def test_odd_tables_are_named(root, experiment, content):
    (root / TABLE).write_bytes(content)
    write_manifest(root, accept=True)
    assert named(root, experiment).keys() == {TABLE}


@pytest.mark.filterwarnings("ignore")  # of processes that start beside the threads of JAX
def test_a_file_that_ends_the_process_that_reads_it_is_named(root, experiment, monkeypatch):
    read = runs.artifact.opened

    def deadly(path, *arguments, **options):
        if Path(path).name == "rod.nc":
            os.kill(os.getpid(), signal.SIGKILL)
        return read(path, *arguments, **options)

    monkeypatch.setattr(runs.artifact, "opened", deadly)
    problems = audit(root, experiment, workers=2).problems
    assert {problem.path for problem in problems} == {f"{RUN}/rod.nc", f"{RUN}/sharpness/rod.nc"}
    assert all(problem.what.startswith("ends the process that reads it") for problem in problems)


def test_a_claim_that_cannot_be_measured_is_not_reproduced(root, experiment, monkeypatch):
    def odd(*arguments):
        raise TypeError("unsized\x1b")

    (claim,) = [one for one in audit_module.CLAIMS if not one.overall and not one.figure][:1]
    changed = type(claim)(**{**vars(claim), "measure": odd, "about": lambda settings: ""})
    monkeypatch.setattr(audit_module, "CLAIMS", (changed,))
    (judgement,) = audit(root, experiment).judgements
    assert judgement.verdict == "not reproduced"
    assert judgement.findings[0].note == "cannot be measured: unsized\x1b"


# Text stays text


HOSTILE = "diverged <script>alert(1)</script>\n\n# Audit: all intact\n| a | ![x](http://x.y/z) \x1b[2K\u202e"


@pytest.fixture
def report(root: Path, experiment: Experiment) -> Report:
    """Of a folder with hostile text in a status, a place, an input and a name."""
    forge(root / RUN / "comparison.nc", status=HOSTILE)
    forge(root / RUN / "discrete.nc", artifact=HOSTILE)
    forge(root / "dataset.nc", settings='{"name":"<b>`x`\\u001b"}')
    name = "figures/<i>`|x\n\x1b[1A.csv"
    (root / name).write_text("")
    os.mkfifo(root / "x\n# y.nc")
    return audit(root, experiment)


def test_no_text_of_a_folder_becomes_markup(report):
    text = as_markdown(report)
    assert "alert(1)" in text and "all intact" in text
    for markup in ("<script", "<b>", "<i>", "\n# Audit: all", "![x]", "http://x", "\x1b", "\u202e"):
        assert markup not in text
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert not [line for line in headings if "intact" in line or "y.nc" in line]
    assert all(line.isprintable() for line in text.split("\n"))


def test_no_text_of_a_folder_becomes_markup_of_the_page(report):
    page = as_html(report)
    assert "alert(1)" in page and "all intact" in page
    for markup in ("<script", "<b>`", "<i>`", "\x1b", "\u202e"):
        assert markup not in page
    assert all(line.isprintable() for line in page.split("\n"))


def test_no_status_becomes_markup(root, experiment):
    accepted(root, f"{RUN}/comparison.nc", status=HOSTILE)
    report = audit(root, experiment)
    assert report.statuses == {f"{RUN}/comparison.nc": HOSTILE}
    text = as_markdown(report)
    assert "alert(1)" in text and "<script" not in text and "\n# Audit: all" not in text
    assert "alert(1)" in as_html(report) and "<script" not in as_html(report)
    assert all(line.isprintable() for line in (*text.split("\n"), *as_json(report).split("\n")))


def test_no_text_of_a_folder_reaches_a_terminal_or_a_reader_of_the_report_as_more_than_text(report):
    lines = [*summary(report).split("\n"), *map(str, report.problems), *as_json(report).split("\n")]
    assert all(line.isprintable() for line in lines)
    as_json(report).encode(), as_markdown(report).encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tracking_error[snapshot=3] is 1e-09", r"tracking_error\[snapshot=3\] is 1e-09"),
        ("a | b & <c>", "a &#124; b &amp; &lt;c&gt;"),
        ("_a_ *b* `c` ~d~", r"\_a\_ \*b\* \`c\` \~d\~"),
        ("http://a.b www.c.d x@y", r"http\://a.b www\.c.d x\@y"),
        ("a\nb\x9b", r"a\\nb\\x9b"),
        ("&#60;b&#62;", r"&amp;\#60;b&amp;\#62;"),
    ],
)
def test_markup_is_escaped(text, shown):
    assert escaped(text) == shown


def test_a_problem_is_one_printable_line():
    assert str(Problem("a\nb", "c\x1b")) == r"a\nb: c\x1b"


# Where nothing can be written


def test_a_report_that_cannot_be_written_is_an_error_after_what_was_found(root, experiment, capsys):
    report = audit(root, experiment)
    (root / "file").touch()
    with pytest.raises(ArtifactError, match="cannot be written"):
        _told(report, root, root / "file/audit.json")
    assert summary(report) in capsys.readouterr().out
