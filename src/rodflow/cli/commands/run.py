"""Run an experiment in the folder of its config, to the last figure and the audit.

It calls Snakemake with the workflow of rodflow's repository. Results go to `results/<name>/` beside the config.
"""

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import rodflow
from rodflow.cli import parents
from rodflow.config.settings import ConfigError, load, resolve
from rodflow.errors import RodflowError

MANY_CORES = False
CLONE = Path(rodflow.__file__).resolve().parents[2]


class RunError(RodflowError, RuntimeError):
    """An experiment that cannot be run here: one line with the remedy."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The config, and how Snakemake is called."""
    parser.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"))
    parser.add_argument("--clone", type=Path, default=CLONE, help="rodflow's repository")
    parser.add_argument("--profile", type=Path, help="Snakemake's; default: the clone's")
    parser.add_argument("--cores", default="all", help="default: all")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run, and end")


def run(args: argparse.Namespace) -> int:
    """Run it; the exit status is Snakemake's."""
    config: Path = args.config
    try:
        resolve(load(config), config.parent)
    except ConfigError as error:
        raise ConfigError(f"{config}: {error}") from error
    if find_spec("snakemake") is None:
        raise RunError("snakemake is not installed: pip install 'rodflow[workflow]'")
    clone = args.clone.resolve()
    if not (clone / "Snakefile").is_file():
        raise RunError(f"{clone}: has no Snakefile; say with --clone where rodflow's repository is")
    profile = args.profile or clone / "workflow/profiles/default"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(clone / "Snakefile")]
    command += ["--profile", str(profile.resolve()), "--cores", args.cores]
    command += [*["--dry-run"] * args.dry_run, "--configfile", config.name]
    called = subprocess.run(command, cwd=config.parent, env=parents.as_caller(), check=False)
    return called.returncode
