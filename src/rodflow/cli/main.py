"""The command line: `rodflow COMMAND` for people, `rodflow stage STAGE` for the workflow."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from rodflow.cli import devices, folders, libraries, parents, warm
from rodflow.cli.jobs import Job, Option
from rodflow.cli.keys import key
from rodflow.config import blame
from rodflow.errors import RodflowError
from rodflow.stages.progress import Clock

COMMANDS = (
    "new",
    "check",
    "choose",
    "run",
    "audit",
    "compare",
    "figures",
    "gallery",
    "results",
    "claims",
    "tidy",
    "accept",
    "everything",
    "index",
    "keys",
)
STAGES = (
    "dataset",
    "train",
    "flow",
    "sharpness",
    "replay",
    "outputs",
    "comparison",
    "toy",
    "adam_region",
    "figure",
    "manifest",
)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its own errors are one line on standard error, without a traceback.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    status = warm.handed_over(words) if words[:1] == ["stage"] or words[:1] == ["audit"] else None
    return run(words) if status is None else status


def run(words: Sequence[str]) -> int:
    """Run a command in this process. The arguments and the result are those of `main`."""
    args = parser().parse_args(words)
    parents.die_with_the_caller()
    try:
        call: Callable[[argparse.Namespace], int] = args.call
        return call(args)
    except BrokenPipeError:  # such as `rodflow check config.yaml | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        where = blame.line(error)
        line = libraries.blamed(error) or folders.nested(error)
        if where is not None or isinstance(error, RodflowError):
            line = blame.said(error, where)
        if not line:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """All commands and stages with their help."""
    top = argparse.ArgumentParser(prog="rodflow", description=_first("rodflow"))
    top.add_argument("--version", action="version", version=_version())
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"rodflow.cli.commands.{name}")
        own = _added(commands, name, module)
        module.add_options(own)
        own.set_defaults(call=_command(module))
    stages = commands.add_parser("stage", help="a stage of the workflow", description=_STAGE)
    each = stages.add_subparsers(title="stages", metavar="STAGE", required=True)
    for name in STAGES:
        module = importlib.import_module(f"rodflow.cli.stages.{name}")
        own = _added(each, name.replace("_", "-"), module)
        own.add_argument("--root", required=True, type=Path, metavar="FOLDER", help="results/NAME")
        options: dict[str, Option] = dict(module.OPTIONS)
        for option, how in options.items():
            own.add_argument(f"--{option}", required=True, **how)
        own.set_defaults(call=_stage(name, module))
    return top


_STAGE = """Run one stage as the workflow does. The call of a job is in its log where it failed, and works as it is."""


def _added(
    parsers: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, module: ModuleType
) -> argparse.ArgumentParser:
    text = module.__doc__ or ""
    return parsers.add_parser(
        name,
        help=text.split("\n")[0],
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _command(module: ModuleType) -> Callable[[argparse.Namespace], int]:
    def call(args: argparse.Namespace) -> int:
        libraries.prepare_all()
        if not module.MANY_CORES:
            return module.run(args)
        folders.keep_programs()
        return module.run(args, CORES)

    return call


def _stage(name: str, module: ModuleType) -> Callable[[argparse.Namespace], int]:
    def call(args: argparse.Namespace) -> int:
        del args.call
        for note in (*libraries.prepare_all(), *folders.keep_programs()):
            print(note, file=sys.stderr)
        from rodflow.store.manifest import note_writes

        devices.take_a_core()
        settings = getattr(args, "settings", {})
        note_writes(
            args.root
        )  # so that the manifest knows what jobs wrote from what others altered
        first = settings[0] if isinstance(settings, list) else settings
        if module.COMPUTES:
            devices.take_devices(first)
        module.run(Job(args, Clock(name, first.get("steps", 0)), lambda: key(name, args)))
        return 0

    return call


def _first(module: str) -> str:
    return (importlib.import_module(module).__doc__ or "").split("\n")[0]


def _version() -> str:
    from importlib.metadata import version

    return f"rodflow {version('rodflow')}"
