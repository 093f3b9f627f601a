"""The Makefile: names are names, and ARGS may name targets."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["a $(touch owned)", "costs $5", "a`touch owned`", 'it\'s "so"'])
def test_the_name_of_the_folder_is_no_shell_code(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    for file in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy2(REPOSITORY / file, folder)
    ended = subprocess.run(
        ["make", ".venv", "PYTHON=/bin/false"], cwd=folder, capture_output=True, text=True
    )
    assert "rodflow needs Python >= 3.11, but /bin/false is" in ended.stderr
    assert not [*tmp_path.rglob("owned")]


def test_a_target_in_args_is_not_read_as_a_second_config():
    command = ["make", "-n", "reproduce", "CONFIG=config/smoke.yaml", "ARGS=trajectories --dry-run"]
    said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stdout
    (line,) = [one for one in said.splitlines() if " snakemake " in one]
    words = line.split(" snakemake ")[1].split()
    assert words[:2] == ["trajectories", "--dry-run"]
    assert words[-2:] == ["--configfile", "'config/smoke.yaml'"]


def test_help_names_every_target():
    said = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True).stdout
    for target in ("reproduce", "everything", "tidy", "audit", "test-slow"):
        assert f"  {target} " in said


@pytest.mark.parametrize("target", ["reproduce", "figures", "everything", "audit", "choose"])
def test_make_that_is_terminated_takes_along_what_it_called(tmp_path, target):
    """It hands the signal to one process, which must not be a shell that leaves its own behind."""
    shutil.copy2(REPOSITORY / "Makefile", tmp_path)
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    script = '#!/bin/sh\n[ "$4" = check ] && exit\necho $$ > started; exec sleep 300\n'
    for name in ("python", "snakemake"):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    started = tmp_path / "started"
    with subprocess.Popen(["make", "-o", ".venv", target], cwd=tmp_path) as make:
        until = time.monotonic() + 60
        while not (started.exists() and started.read_text()):
            assert time.monotonic() < until
            time.sleep(0.01)
        make.terminate()
        make.wait(60)
    assert not Path(f"/proc/{started.read_text().strip()}").exists()


@pytest.mark.parametrize("name", ["a`touch owned`", 'it\'s "so"; touch owned', "a b"])
@pytest.mark.parametrize("words", [["tidy", "CONFIG"], ["compare", "A"], ["report", "REPORT"]])
def test_a_name_that_is_given_is_no_shell_code(tmp_path, name, words):
    target, variable = words
    shutil.copy2(REPOSITORY / "Makefile", tmp_path)
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for program in ("python", "snakemake"):
        (programs / program).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (programs / program).chmod(0o755)
    command = ["make", "-o", ".venv", target, "A=a", "B=b", f"{variable}={name}"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    assert name in said.splitlines()
    assert not (tmp_path / "owned").exists()
