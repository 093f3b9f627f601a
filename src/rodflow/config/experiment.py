"""What a config resolves to: an experiment, its runs and its sweeps.

Stages import this module, so that their results depend on its code. It therefore holds no word on how a config is read.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from rodflow.config import values

Settings = dict[str, Any]  # Any as in `rodflow.config.values`
"""Plain JSON values by name."""


@dataclass(frozen=True)
class Run:
    """One model trained by one optimizer from one seed.

    Attributes:
        model: the model's name in the config.
        optimizer: the optimizer's name.
        seed: seed of the initial weights.
        flows: the continuous-time models that are compared with it.
        restart: the snapshot at which the rod flow is started once more, to predict iterates; None: where
            the rod of the iterates has opened.
        group: folder of a sweep's runs with one set of values, "" for the main runs.
        settings: everything that determines the trajectory, as plain JSON values with sorted keys:
            ``batch_size`` (null: all images), ``criterion``, ``dataset``, ``model`` (``kind`` and its
            settings), ``optimizer`` (``name`` and its hyperparameters), ``seed``, ``snapshots``, ``start``
            and ``steps``; ``compute`` (``devices`` and ``samples_at_once``) where it is not the default; and
            ``own`` (``code``, file -> digest; the criterion's arguments; the ``folder``) where it uses code of
            one's own, whose name is then ``FILE.py:NAME``.
            Where the images are read from (``dataset.archive``) is not among them.
    """

    model: str
    optimizer: str
    seed: int
    settings: Settings = field(hash=False)
    flows: tuple[str, ...]
    restart: int | None
    group: str = ""

    @property
    def path(self) -> str:
        """Folder of the run within the experiment's: ``[<group>/]<model>/<optimizer>/seed<k>``."""
        own = f"{self.model}/{self.optimizer}/seed{self.seed}"
        return f"{self.group}/{own}" if self.group else own

    @property
    def processes(self) -> tuple[str, ...]:
        """The discrete run and its flows."""
        return ("discrete", *self.flows)

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the settings as canonical JSON."""
        return hashlib.sha256(canonical(self.settings).encode()).hexdigest()


@dataclass(frozen=True)
class Sweep:
    """Runs that differ from main runs in some values.

    Attributes:
        name: its name in the config.
        base: the main runs of its models and optimizers, which it starts from.
        runs: the others, of the values in the order of the config.
        figures: names of the figures that show them.
    """

    name: str
    base: tuple[Run, ...]
    runs: tuple[Run, ...]
    figures: tuple[str, ...]


@dataclass(frozen=True)
class Experiment:
    """A resolved config: every value given, every run listed.

    Attributes:
        name: results go to ``results/<name>/``.
        dataset: settings of the data stage.
        criterion: ``mse``, ``cross_entropy``, or ``FILE.py:NAME`` where it is one's own.
        runs: models x optimizers x seeds, in the order of the config.
        sweeps: further runs with other values.
        unreached: `<model>/<optimizer>` of the runs that are left out, as no learning rate of the grid reaches its
            threshold in time (`rodflow.config.rates`).
        replicas: how many replicas each main run has.
        compute: how a job uses the machine.
        sharpness: settings of the sharpness stage.
        figures: names of the figures of the main runs.
    """

    name: str
    dataset: Settings = field(hash=False)
    criterion: str
    runs: tuple[Run, ...]
    sweeps: tuple[Sweep, ...]
    replicas: int
    compute: Settings = field(hash=False)
    sharpness: Settings = field(hash=False)
    figures: tuple[str, ...]
    unreached: tuple[str, ...] = ()

    @property
    def all_runs(self) -> tuple[Run, ...]:
        """The main runs, then those of the sweeps."""
        return (*self.runs, *(run for sweep in self.sweeps for run in sweep.runs))

    def run(self, path: str) -> Run:
        """The run with this path.

        Raises:
            LookupError: the experiment has no such run.
        """
        for run in self.all_runs:
            if run.path == path:
                return run
        raise LookupError(f"{self.name} has no run {path}")


def canonical(value: object) -> str:
    """A value as JSON that depends on nothing but the value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def shared(settings: values.Settings) -> Settings:
    """What a run's settings have in common with those that one compiled program serves as well.

    All but the seed and those hyperparameters that are no whole numbers: `k` of k-Adam shapes the program, and code
    of one's own may do with its numbers what it will.
    """
    if "own" in settings:
        return {**settings}
    fixed = {k: v for k, v in settings["optimizer"].items() if not isinstance(v, float)}
    return {**settings, "optimizer": fixed, "seed": None}
