"""What a config names that no catalogue has: code of one's own, and learning rates that change in time.

The form that a config is checked against depends on it. Here it is found in the config before that check, and each
such name is given a declaration of the same kind as a built-in one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rodflow.config import own
from rodflow.config.catalogue import DATASETS, OPTIMIZERS
from rodflow.config.declarations import DataSet, Model, Optimizer, Setting
from rodflow.config.messages import FOLDER_NAME, FOLDER_PATTERN, Place, Problem, show
from rodflow.config.paths import PathError
from rodflow.config.reference import OwnError, is_own, reference
from rodflow.config.values import Settings

Declared = TypeVar("Declared", Model, DataSet)


@dataclass(frozen=True)
class Written:
    """What is of one's own in a config.

    Attributes:
        folder: of the config, which files are relative to.
        optimizers: by their name in the config.
        models: by reference, `FILE.py:NAME`.
        datasets: likewise.
        criterion: the settings of the criterion; None: it is none of one's own.
        code: file -> digest of its code.
    """

    folder: Path = Path()
    optimizers: Mapping[str, Optimizer] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    datasets: Mapping[str, DataSet] = field(default_factory=dict)
    criterion: Mapping[str, Setting] | None = None
    code: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.optimizers or self.models or self.datasets or self.criterion is not None)


NOTHING = Written()


def found_in(config: object, folder: Path, rate: Setting) -> tuple[object, Written, list[Problem]]:
    """What is of one's own in a config, the config with the names that follow from it, and what is wrong.

    Args:
        config: as it was read.
        folder: where it is.
        rate: what may be said in place of a learning rate that is a number.
    """
    finder = _Finder(folder)
    if not isinstance(config, dict):
        return config, NOTHING, []
    given = {**config}
    given["dataset"] = finder.dataset(config.get("dataset"))
    given["models"] = finder.models(config.get("models"))
    finder.optimizers(config.get("optimizers"), rate)
    finder.criterion(config.get("criterion"))
    given = {key: value for key, value in given.items() if key in config}
    return given, finder.written, finder.problems


class _Finder:
    """Goes through a config and collects what is of one's own."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[Problem] = []
        self.own_optimizers: dict[str, Optimizer] = {}
        self.own_models: dict[str, Model] = {}
        self.own_datasets: dict[str, DataSet] = {}
        self.code: dict[str, str] = {}
        self.own_criterion: Mapping[str, Setting] | None = None
        self.folder = folder

    @property
    def written(self) -> Written:
        return Written(
            self.folder,
            self.own_optimizers,
            self.own_models,
            self.own_datasets,
            self.own_criterion,
            self.code,
        )

    def dataset(self, given: object) -> object:
        if not isinstance(given, dict) or "name" in given:
            return self._beside(given, "name", ("dataset",))
        if "python" in given:
            return self._named(given, "name", ("dataset",), "data", self.own_datasets, own.data)
        by_key = [name for name in given if name in DATASETS and name in DATASETS[name].settings]
        return {"name": by_key[0], **given} if by_key else given

    def models(self, given: object) -> object:
        if not isinstance(given, dict):
            return given
        return {name: self._model(name, one) for name, one in given.items()}

    def _model(self, name: str, given: object) -> object:
        place = ("models", name)
        if not isinstance(given, dict) or "python" not in given or "kind" in given:
            return self._beside(given, "kind", place)
        return self._named(given, "kind", place, "model", self.own_models, own.model)

    def optimizers(self, given: object, rate: Setting) -> None:
        for name, one in given.items() if isinstance(given, dict) else ():
            if not isinstance(one, dict):
                continue
            place = ("optimizers", name)
            if "python" in one:
                if not re.fullmatch(FOLDER_PATTERN, name):
                    self.problems.append((place, f"is not a usable name; {FOLDER_NAME}"))
                source = self._source(one["python"], (*place, "python"), "optimizer")
                if source is not None:
                    declared = own.optimizer(name, one["python"], source)
                    self.own_optimizers[name] = declared
            elif isinstance(one.get("learning_rate"), dict) and name in OPTIMIZERS:
                if "learning_rate" in OPTIMIZERS[name].hyperparameters:
                    self.own_optimizers[name] = own.scheduled(OPTIMIZERS[name], rate)

    def criterion(self, given: object) -> None:
        if isinstance(given, dict) and "python" in given:
            source = self._source(given["python"], ("criterion", "python"), "criterion")
            self.own_criterion = {} if source is None else source.settings

    def _named(
        self,
        given: Settings,
        key: str,
        place: Place,
        family: str,
        into: dict[str, Declared],
        declare: Callable[[str, own.Source], Declared],
    ) -> object:
        """The settings with the name that follows from the code, which is declared."""
        text = given["python"]
        source = self._source(text, (*place, "python"), family)
        if source is None:
            return given
        into[text] = declare(text, source)
        return {key: text, **given}

    def _source(self, text: object, place: Place, family: str) -> own.Source | None:
        try:
            found = own.source(self.folder, text, family)
        except (OwnError, PathError) as error:
            self.problems.append((place, f"is {show(text)}; {error}"))
            return None
        what = reference(text)
        if what is not None:
            self.code[what.file] = found.digest
        return found

    def _beside(self, given: object, key: str, place: Place) -> object:
        if isinstance(given, dict) and "python" in given and key in given:
            text = f"is {show(given[key])}; python says what it is: give one of them"
            self.problems.append(((*place, key), text))
        elif isinstance(given, dict) and is_own(given.get(key)):
            text = f"is {show(given[key])}; code of your own is named by python"
            self.problems.append(((*place, key), text))
        return given
