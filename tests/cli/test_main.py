"""The command line: help, one-line errors, and what the small commands say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import rodflow.config
from rodflow.audit.pages import BEGIN, END
from rodflow.cli import main as front
from rodflow.cli.commands import keys
from rodflow.cli.main import COMMANDS, STAGES, main, parser

REPOSITORY = Path(__file__).parents[2]
CONFIG = {
    "name": "small",
    "dataset": {"name": "digits", "samples": 60},
    "models": {"mlp": {"kind": "mlp", "hidden": [4]}},
    "optimizers": {"gd": {"learning_rate": 0.1, "start": 5, "steps": 40}},
    "figures": ["thresholds"],
}


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The file of a small experiment in the working folder."""
    monkeypatch.chdir(tmp_path)
    # The environment is this process's own here, and stays as it is.
    monkeypatch.setattr(front.libraries, "prepare_all", lambda: ())
    monkeypatch.setattr(front.folders, "keep_programs", lambda: ())
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.mark.parametrize("words", [[name] for name in COMMANDS] + [["stage", n] for n in STAGES])
def test_every_command_and_stage_has_help(words, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([words[0], *(word.replace("_", "-") for word in words[1:]), "--help"])
    assert ended.value.code == 0
    assert f"usage: rodflow {' '.join(words).replace('_', '-')}" in capsys.readouterr().out


def test_help_loads_no_library_that_takes_long():
    code = (
        "import sys; from rodflow.cli.main import parser; parser().format_help(); "
        "print(sorted({'jax', 'xarray', 'matplotlib', 'snakemake'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "[]\n", found.stderr


def test_check_says_what_a_config_resolves_to(config, capsys):
    assert main(["check", str(config)]) == 0
    assert "mlp/gd/seed0" in capsys.readouterr().out
    assert main(["check", "--quiet", str(config)]) == 0
    assert capsys.readouterr().out == ""


def test_a_bad_config_is_one_line(config, capsys):
    config.write_text(yaml.safe_dump(CONFIG | {"seeds": [-1]}))
    assert main(["check", str(config)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {config}: seeds.0 is -1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["audit", "--config", "small.yaml"], "error: results/small: no results to audit"),
        (["compare", "a", "b"], "error: a: "),
        (["figures", "tracking", "--config", "small.yaml"], "error: figure tracking: small.yaml"),
        (["gallery", "--config", "small.yaml"], "error: results/small: has no audit"),
        (["claims"], "error: docs/gallery: no such folder"),
        (["results"], "error: docs/gallery: no such folder"),
        (["everything", "--configs"], "rodflow everything: error: argument --configs"),
    ],
)
def test_errors_are_one_line(config, capsys, words, said):
    try:
        assert main(words) == 1
    except SystemExit as ended:  # of argparse
        assert ended.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)


def test_check_takes_the_keys_that_a_call_changes(config, capsys):
    assert main(["check", str(config), "--overrides", '{"seeds": [7]}']) == 0
    assert "mlp/gd/seed7" in capsys.readouterr().out
    assert main(["check", str(config), "--overrides", '{"seeds": [-1]}']) == 1
    assert "seeds.0 is -1" in capsys.readouterr().err


def test_a_gallery_records_what_made_it_and_the_pages_follow(config, tmp_path, capsys):
    results = tmp_path / "results/small"
    (results / "figures").mkdir(parents=True)
    (results / "figures/thresholds.csv").write_text("a\n" * 2**18)
    (results / "audit.md").write_text("# Audit")
    verdicts = ("reproduced", "not reproduced", "not at the edge", "not reached")
    counts = {listed: dict.fromkeys(verdicts, 0) for listed in ("paper", "own target")}
    summary = {"intact": 3, "artifacts": 3, "claims": counts}
    (results / "audit.json").write_text(json.dumps({"claims": [], "summary": summary}))
    (tmp_path / "README.md").write_text(f"# Own\n{BEGIN}\n{END}\n")
    assert main(["gallery", "--config", "small.yaml"]) == 0
    gallery = tmp_path / "docs/gallery/small"
    assert sorted(path.name for path in gallery.iterdir()) == [
        "audit.json", "audit.md", "made.json", "thresholds.csv.gz"
    ]  # fmt: skip
    assert main(["results", "--check"]) == 1
    assert main(["results"]) == 0
    index = (tmp_path / "docs/gallery/README.md").read_text()
    assert "| `small/` | `small.yaml` | current |" in index
    assert "3 of 3 artifacts intact" in (tmp_path / "docs/results.md").read_text()
    assert main(["results", "--check"]) == 0
    config.write_text(yaml.safe_dump(CONFIG | {"seeds": [3]}))
    assert main(["results"]) == 0
    assert "changed since: config" in (tmp_path / "docs/gallery/README.md").read_text()
    assert "3 of 3" not in (tmp_path / "docs/results.md").read_text()


@pytest.mark.parametrize("place", ["figures/thresholds.png", "audit.json"])
def test_a_gallery_takes_no_file_from_elsewhere(config, tmp_path, capsys, place):
    results, gallery = tmp_path / "results/small", tmp_path / "docs/gallery/small"
    (results / "figures").mkdir(parents=True)
    for name in ("audit.md", "audit.json"):
        (results / name).touch()
    (tmp_path / "secret").write_text("private")
    (results / place).unlink(missing_ok=True)
    (results / place).symlink_to(tmp_path / "secret")
    gallery.mkdir(parents=True)
    (gallery / "audit.md").write_text("the one before")
    assert main(["gallery", "--config", "small.yaml"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{place}: cannot be read: it is a link" in line
    assert [path.name for path in gallery.iterdir()] == ["audit.md"]


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"summary": {"intact": Infinity, "artifacts": 1}}',
        b'{"summary": {"intact": "<b>", "artifacts": []}}',
        b"\xff",
        None,
    ],
)
def test_an_index_says_of_a_report_that_is_none_that_there_is_no_audit(config, tmp_path, content):
    results = tmp_path / "results/small"
    (results / "figures").mkdir(parents=True)
    if content is None:
        os.mkfifo(results / "audit.json")
    else:
        (results / "audit.json").write_bytes(content)
    (tmp_path / "secret").write_text("private")
    (results / "figures/thresholds.png").touch()
    (results / "figures/thresholds.rst").symlink_to(tmp_path / "secret")
    assert main(["index", "--configs", "small.yaml"]) == 0
    assert "| no audit |" in (tmp_path / "results/index.md").read_text()
    page = (tmp_path / "results/index.html").read_text()
    assert "thresholds" in page and "private" not in page


def test_a_caption_of_another_encoding_ends_no_index(config, tmp_path):
    figures = tmp_path / "results/small/figures"
    figures.mkdir(parents=True)
    (figures / "thresholds.png").touch()
    (figures / "thresholds.rst").write_bytes(b"of <b>\xff</b>")
    assert main(["index", "--configs", "small.yaml"]) == 0
    assert "of &lt;b&gt;\ufffd&lt;/b&gt;" in (tmp_path / "results/index.html").read_text()


def test_a_name_cannot_move_the_cursor_where_tidy_lists_it(config, tmp_path, capsys):
    root = tmp_path / "results/small"
    root.mkdir(parents=True)
    (root / "\x1b[2K\n.nc").touch()
    assert main(["tidy", "--config", str(config)]) == 0
    assert r"results/small/\x1b[2K\n.nc" in capsys.readouterr().out


def test_tidy_follows_no_link_and_deletes_what_no_run_has(config, tmp_path, capsys):
    root, outside = tmp_path / "results/small", tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.nc").touch()
    left = [root / "mlp/old/seed0/discrete.nc", root / "figures/toy.png"]
    kept = [root / "mlp/gd/seed0/discrete.nc", root / "figures/thresholds.png", root / "notes.txt"]
    for path in (*left, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / "linked").symlink_to(outside)
    assert main(["tidy", "--config", str(config)]) == 0
    assert all(path.exists() for path in (*left, *kept))
    assert main(["tidy", "--config", str(config), "--delete"]) == 0
    assert not any(path.exists() for path in left) and not (root / "mlp/old").exists()
    assert all(path.exists() for path in kept) and (outside / "mine.nc").exists()


def test_before_a_run_the_files_are_named_by_which_its_audit_would_fail(config, tmp_path, capsys):
    (tmp_path / "results/small/mlp/old").mkdir(parents=True)
    (tmp_path / "results/small/mlp/old/discrete.nc").touch()
    assert main(["check", "--quiet", "--workflow", "small.yaml"]) == 0
    assert 'make tidy CONFIG="small.yaml" ARGS=--delete' in capsys.readouterr().out
    main(["tidy", "--config", "small.yaml", "--delete"])
    capsys.readouterr()
    assert main(["check", "--quiet", "--workflow", "small.yaml"]) == 0
    assert capsys.readouterr().out == ""


def test_the_page_of_keys_is_that_of_the_schema(capsys):
    """After a change of a setting: rodflow keys > config/README.md."""
    assert keys.run(parser().parse_args(["keys"])) == 0
    assert (REPOSITORY / "config/README.md").read_text(encoding="utf-8") == capsys.readouterr().out


def test_the_schema_is_in_the_package():
    assert keys.SCHEMA.parent == Path(rodflow.config.__file__).parent
