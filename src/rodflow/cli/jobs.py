"""What the stages share: their options, where a job keeps what it has so far, and how it stores what it made.

A stage is a module of `rodflow.cli.stages` with `OPTIONS`, `COMPUTES` and `run(job)`. JAX is imported while it runs,
so that help and errors of the command line come at once.
"""

import json
import os
import resource
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rodflow.cli.environment import recorded
from rodflow.config.values import Settings

if TYPE_CHECKING:
    import xarray as xr

    from rodflow.store.checkpoint import Scratch

Option = Settings
"""Keyword arguments of `ArgumentParser.add_argument`."""

JSON: Option = {"type": json.loads, "metavar": "JSON"}
PATH: Option = {"type": Path, "metavar": "FILE"}
PATHS: Option = {"type": Path, "nargs": "+", "metavar": "FILE"}

CHECKPOINT = "RODFLOW_CHECKPOINT"
"""The environment variable with the seconds between two checkpoints of a job; 0: at every opportunity."""


class Clock(Protocol):
    """What a job needs of a `rodflow.stages.progress.Clock`."""

    @property
    def elapsed(self) -> float: ...

    def __call__(self, step: int, loss: float) -> None: ...

    def restart(self, title: str | None = None) -> None: ...

    def tell(self, line: str, seconds: float) -> None: ...


class Job:
    """One call of a stage.

    Args:
        args: what its options are, with `root`, the results folder of the experiment.
        clock: is told how far the job is.
        key: gives the digest of all that decides what the job makes, see `rodflow.cli.keys`.
    """

    def __init__(self, args: Namespace, clock: Clock, key: Callable[[], str]) -> None:
        self.args, self.clock, self._key = args, clock, key

    def scratch(self, output: Path) -> "Scratch":
        """Where the job leaves what it has so far, beside its (first) output, and continues when it was killed."""
        from rodflow.store.checkpoint import PAUSE, Scratch

        return Scratch(
            output.with_name(f".{output.name}.partial"),
            self._key,
            pause=float(os.environ.get(CHECKPOINT, PAUSE)),
            tell=self.clock.tell,
        )

    def store(
        self,
        data: "xr.Dataset",
        output: Path,
        *,
        kind: str,
        settings: Settings,
        inputs: Mapping[str, Path] | None = None,
        computed: bool = True,
    ) -> None:
        """Write what the job made, with its settings, status and cost, and its device if it was computed on one."""
        from rodflow.store import artifact

        own: dict[str, str | int] = {"environment": recorded()}
        device = None
        if computed:
            import jax

            device = jax.devices()[0].device_kind
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            own["peak_memory_mib"] = round(peak / (2**20 if sys.platform == "darwin" else 2**10))
        status = data.attrs.get("status", "completed")
        if status != "completed":
            print(f"warning: {output.name}: {status}", file=sys.stderr)
        artifact.write(
            data.assign_attrs(own),
            output,
            kind=kind,
            root=self.args.root,
            settings=settings,
            inputs=inputs,
            wall_time=self.clock.elapsed,
            status=status,
            device=device,
        )
