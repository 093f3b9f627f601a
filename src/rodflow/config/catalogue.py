"""What a config may name: optimizers, flows, models, data sets and figures, each found where it is declared.

Every one is a module of its kind's folder, and its name is the module's. Another package adds to them with an entry
point of the group `rodflow.optimizers`, `rodflow.flows`, `rodflow.models`, `rodflow.datasets` or `rodflow.figures`,
whose value is the name of a module:

    [project.entry-points."rodflow.optimizers"]
    mine = "my_package.mine"

A declaration is read from the module's source: it is evaluated alone, with the words of `rodflow.config.declarations`.
So this module imports neither JAX nor matplotlib, and nor does who asks it.
"""

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from rodflow.config import declarations
from rodflow.config.declarations import DataSet, FigureEntry, Flow, Model, Optimizer
from rodflow.errors import RodflowError

Declaration = TypeVar("Declaration", Optimizer, Flow, Model, DataSet, FigureEntry)


class CatalogueError(RodflowError, LookupError):
    """Something that is not declared, or declared in a way that cannot be read; one line says what and where."""


@dataclass(frozen=True)
class Kind(Generic[Declaration]):
    """A kind of things that a config names.

    Attributes:
        name: in words.
        variable: the name of the declaration in a module.
        declared: the class of the declarations.
        package: the folder of the built-in ones, as a package.
        nested: whether they stand in folders of that folder.
    """

    name: str
    variable: str
    declared: type[Declaration]
    package: str
    nested: bool = False

    def __getitem__(self, name: str) -> Declaration:
        """The declaration of this name.

        Raises:
            CatalogueError: there is none, or it cannot be read.
        """
        return _declaration(self, name)

    def __iter__(self) -> Iterator[str]:
        """The names, in their order."""
        return iter(_ordered(self))

    def __contains__(self, name: object) -> bool:
        return name in _modules(self)

    def module(self, name: str) -> str:
        """The full name of the module that declares it.

        Raises:
            CatalogueError: there is none.
        """
        known = _modules(self)
        if name not in known:
            raise CatalogueError(f"there is no {self.name} {name!r}; there are {', '.join(self)}")
        return known[name]

    def load(self, name: str) -> ModuleType:
        """The module itself, with its code.

        Raises:
            CatalogueError: there is none.
        """
        return importlib.import_module(self.module(name))


OPTIMIZERS = Kind("optimizer", "OPTIMIZER", Optimizer, "rodflow.optimizers.library")
FLOWS = Kind("flow", "FLOW", Flow, "rodflow.dynamics.flows")
MODELS = Kind("model", "MODEL", Model, "rodflow.problem.models")
DATASETS = Kind("data set", "DATASET", DataSet, "rodflow.problem.datasets")
FIGURES = Kind("figure", "FIGURE", FigureEntry, "rodflow.figures", nested=True)

KINDS: tuple[Kind, ...] = (OPTIMIZERS, FLOWS, MODELS, DATASETS, FIGURES)


def source(module: str) -> Path:
    """The file of a module that is not imported for it.

    Raises:
        CatalogueError: there is no such module, or it has no source.
    """
    try:
        spec = find_spec(module)
    except ImportError as error:
        raise CatalogueError(f"module {module} cannot be found: {error}") from error
    if spec is None or spec.origin is None or not spec.has_location:
        raise CatalogueError(f"module {module} cannot be found, or has no source")
    return Path(spec.origin)


@cache
def _modules(kind: Kind) -> dict[str, str]:
    """Name -> module: the built-in ones that hold a declaration, then those of other packages."""
    folder = source(kind.package).parent
    files = folder.glob("*/*.py") if kind.nested else folder.glob("*.py")
    found = {}
    for path in sorted(files):
        if f"\n{kind.variable} = " in path.read_text(encoding="utf-8"):
            inner = ".".join(path.relative_to(folder).with_suffix("").parts)
            found[path.stem] = f"{kind.package}.{inner}"
    group = f"rodflow.{kind.package.rsplit('.', 1)[-1]}"
    group = "rodflow.optimizers" if kind is OPTIMIZERS else group
    for point in metadata.entry_points(group=group):
        found.setdefault(point.name, point.value)
    return found


@cache
def _ordered(kind: Kind) -> tuple[str, ...]:
    return tuple(sorted(_modules(kind), key=lambda name: (kind[name].order, name)))


def _variable(kind: Kind) -> str:
    return kind.declared.__name__.upper()


@cache
def _declaration(kind: Kind[Declaration], name: str) -> Declaration:
    module, variable = kind.module(name), kind.variable
    path = source(module)
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == variable:
            expression = compile(ast.Expression(node.value), str(path), "eval")
            try:
                found = eval(expression, dict(vars(declarations)))
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
                raise CatalogueError(
                    f"{path}:{node.lineno}: {variable} of {kind.name} {name} cannot be read ({why}); "
                    f"it may use plain values and the words of rodflow.config.declarations only"
                ) from error
            if isinstance(found, kind.declared):
                return found
    raise CatalogueError(
        f"{path}: has no {variable} = {kind.declared.__name__}(...), which declares the {kind.name} {name}"
    )
