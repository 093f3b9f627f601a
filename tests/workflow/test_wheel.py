"""The library as a wheel, outside the clone: the schema is in it, the command works, Snakemake is not needed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
WITHOUT = ("snakemake", "pytest", "rodflow", "__editable__")
"""Packages of an interpreter that stay out of its fresh environment, into which the others are linked."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    clone = folder / "clone"
    for part in ("src", "pyproject.toml", "README.md", "LICENSE"):
        source = REPOSITORY / part
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, clone / part, ignore=ignored)
        else:
            shutil.copy2(source, clone)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([*pip, *options, str(clone)], check=True)
    shutil.rmtree(clone)
    (found,) = folder.glob("*.whl")
    return found


def newer() -> str | None:
    """A Python that is newer than this one."""
    names = (f"python3.{minor}" for minor in range(sys.version_info.minor + 1, 20))
    for path in filter(None, map(shutil.which, names)):
        if not subprocess.run([path, "-c", "import venv"], capture_output=True).returncode:
            return path
    return None


@pytest.fixture(scope="module")
def linked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh environment with the wheel and this Python's other packages in it."""
    folder = environment(sys.executable, tmp_path_factory)
    options = ["--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check"]
    install(folder, *options, str(wheel))
    site, packages = (purelib(python) for python in (folder / "bin/python", sys.executable))
    for path in packages.iterdir():
        if not path.name.startswith(WITHOUT) and not (site / path.name).exists():
            (site / path.name).symlink_to(path)
    return folder / "bin"


@pytest.fixture(scope="module")
def downloaded(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a newer Python, whose packages pip gets from its index as it would for a user."""
    python = newer()
    if python is None:
        pytest.skip("no Python newer than this one is at hand")
    folder = environment(python, tmp_path_factory)
    try:
        install(folder, "packaging")
    except subprocess.CalledProcessError:
        pytest.skip("no index of packages can be reached")
    install(folder, str(wheel))
    return folder / "bin"


@pytest.fixture(scope="module", params=["linked", "downloaded"])
def installed(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def environment(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


def install(folder: Path, *words: str) -> None:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "--python",
        str(folder / "bin/python"),
        "install",
    ]
    subprocess.run([*pip, *words], check=True)


def purelib(python: str | Path) -> Path:
    """Where a Python has its packages."""
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())


def call(installed: Path, *command: str, where: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    program, *words = command
    return subprocess.run(
        [installed / program, *words], cwd=where, env=environment, capture_output=True, text=True
    )


def test_the_command_checks_a_config_outside_the_clone(installed, tmp_path):
    shutil.copy2(REPOSITORY / "config/smoke.yaml", tmp_path)
    done = call(installed, "rodflow", "check", "smoke.yaml", where=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mlp/adam/seed1" in done.stdout
    done = call(installed, "rodflow", "keys", where=tmp_path)
    assert done.stdout == (REPOSITORY / "config/README.md").read_text(encoding="utf-8")


def test_the_library_is_the_wheels_and_needs_no_snakemake(installed, tmp_path):
    code = (
        "import pkgutil, importlib, rodflow; "
        "[importlib.import_module(module.name) for module in"
        " pkgutil.walk_packages(rodflow.__path__, 'rodflow.')]; print(rodflow.__file__)"
    )
    done = call(installed, "python", "-c", code, where=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed.parent)


def test_everything_says_that_it_needs_the_extra(installed, tmp_path):
    done = call(installed, "rodflow", "everything", where=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "error: snakemake is not installed: pip install 'rodflow[workflow]'",
    )
