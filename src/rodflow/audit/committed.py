"""The audits in the committed galleries, as the pages and `rodflow claims` quote them."""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rodflow.config.settings import ConfigError, load, resolve
from rodflow.config.uses import of_experiment
from rodflow.config.values import Settings
from rodflow.errors import RodflowError

MADE, AUDIT = "made.json", "audit.json"

Entry = Settings
"""A claim as `rodflow.audit.report.as_json` has it."""


class GalleryUnreadable(RodflowError, ValueError):
    """A gallery whose audit cannot be quoted: one line with the file."""


@dataclass(frozen=True)
class Gallery:
    """One folder of the gallery.

    Attributes:
        folder: where it is.
        config: the file of its experiment, "" of a gallery older than `made.json`.
        code: stage -> digest of the code that made it.
    """

    folder: Path
    config: str
    code: Mapping[str, str]

    @property
    def name(self) -> str:
        """The experiment's."""
        return self.folder.name

    @cached_property
    def claims(self) -> tuple[Entry, ...]:
        """What its audit says of each claim; nothing of a gallery without `audit.json`."""
        return tuple(self._audit["claims"]) if self._audit else ()

    @cached_property
    def summary(self) -> Entry:
        """How many files were intact, and how many claims have which verdict."""
        return self._audit["summary"] if self._audit else {}

    @cached_property
    def _audit(self) -> Settings | None:
        for file in (self.folder / AUDIT, self.folder / f"{AUDIT}.gz"):
            if file.is_file():
                content = file.read_bytes()
                return _read(file, gzip.decompress(content) if file.suffix == ".gz" else content)
        return None

    def outdated(self, root: Path) -> list[str]:
        """The stages whose code, or "config" if the settings, are others now; "unknown" where nothing is recorded.

        Args:
            root: of the repository, which has the config.
        """
        if not self.code:
            return ["unknown"]
        try:
            place = root / self.config
            now = of_experiment(resolve(load(place), place.parent))
        except ConfigError:
            return ["config"]
        stages = sorted(now.keys() | self.code.keys())
        return [stage for stage in stages if now.get(stage) != self.code.get(stage)]


def galleries(place: Path) -> Iterator[Gallery]:
    """Every gallery below a folder, such as docs/gallery, sorted by name.

    Raises:
        GalleryUnreadable: there is no such folder, or a file in one is no JSON of the form that is written there.
    """
    if not place.is_dir():
        raise GalleryUnreadable(f"{place}: no such folder; call this from the repository")
    for folder in sorted(path for path in place.iterdir() if path.is_dir()):
        file = folder / MADE
        made = _read(file, file.read_bytes()) if file.is_file() else {}
        yield Gallery(folder, str(made.get("config", "")), made.get("code", {}))


def asking(root: Path) -> dict[str, list[str]]:
    """Figure -> the experiments of a repository that draw it, by name.

    Args:
        root: of the repository, which has the configs.
    """
    found: dict[str, list[str]] = {}
    for place in (*root.glob("config.yaml"), *sorted((root / "config").glob("*.yaml"))):
        config = load(place)
        sweeps = (config.get("sweeps") or {}).values()
        parts = [config.get("figures") or [], *(sweep.get("figures") or [] for sweep in sweeps)]
        for figure in dict.fromkeys(name for part in parts for name in part):
            found.setdefault(figure, []).append(config["name"])
    return found


def _read(file: Path, content: bytes) -> Settings:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise GalleryUnreadable(f"{file}: is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise GalleryUnreadable(f"{file}: is no JSON object; make the gallery again")
    return found
