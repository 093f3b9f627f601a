"""Say what a config resolves to, or in one line why it does not.

The exit status is 1 if it does not. Nothing is computed and nothing is written.
"""

import argparse
import json
from pathlib import Path

from rodflow.cli.commands.tidy import left_over
from rodflow.config.overrides import changed
from rodflow.config.settings import ConfigError, describe, load, resolve

MANY_CORES = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """The config, and whether to be quiet."""
    parser.add_argument("config", type=Path, help="the YAML file of an experiment")
    parser.add_argument(
        "--overrides", type=json.loads, default={}, metavar="JSON", help="its changed keys"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing if it is right")
    parser.add_argument(
        "--workflow",
        action="store_true",
        help="also whether the results have files of no run",
    )


def run(args: argparse.Namespace) -> int:
    """Check it."""
    config = changed(load(args.config), args.overrides)
    try:
        experiment = resolve(config, args.config.parent)
    except ConfigError as error:
        raise ConfigError(f"{args.config}: {error}") from error
    if not args.quiet:
        print(describe(experiment))
    root = Path("results", experiment.name)
    if args.workflow and (left := left_over(root, experiment)):
        # Said before the run, for the audit fails by it at the end.
        print(
            f"note: {root} has {len(left)} files of no run or figure of this config, which the audit will name as "
            f'problems; delete them: make tidy CONFIG="{args.config}" ARGS=--delete'
        )
    return 0
