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
import re
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
    """The file of a module, which is not imported for it, nor is a package that it is in.

    Raises:
        CatalogueError: there is no such module, or it has no source.
    """
    top, *inner = module.split(".")
    for folder in _folders(top):
        path = folder.joinpath(*inner)
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return file
    raise CatalogueError(f"module {module} cannot be found, or has no source")


@cache
def _folders(package: str) -> tuple[Path, ...]:
    """The folders of a package, or that of a module. To look for what is inside with `find_spec` would import them."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return ()
    if spec is None:
        return ()
    if spec.submodule_search_locations is not None:
        return tuple(Path(place) for place in spec.submodule_search_locations)
    return (Path(spec.origin).with_suffix(""),) if spec.origin and spec.has_location else ()


def docstring(module: str) -> str:
    """The first line of what a module or a package says it is, without the full stop; it is not imported for it.

    Raises:
        CatalogueError: there is no such module.
    """
    text = ast.get_docstring(ast.parse(source(module).read_bytes())) or module
    return text.split("\n")[0].rstrip(".")


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
    for point in _entry_points():
        if point.group == group:
            found.setdefault(point.name, point.value)
    return found


@cache
def _entry_points() -> tuple[metadata.EntryPoint, ...]:
    """Those of all packages that are meant for this one, found once for all kinds."""
    points = (point for package in metadata.distributions() for point in package.entry_points)
    return tuple(point for point in points if point.group.startswith("rodflow."))


@cache
def _ordered(kind: Kind) -> tuple[str, ...]:
    return tuple(sorted(_modules(kind), key=lambda name: (kind[name].order, name)))


def _assignment(path: Path, variable: str) -> tuple[int, ast.Expression] | None:
    """Line and value of a module's variable.

    Its lines alone are parsed, for a whole module takes ten times as long: those from its name to the next one that is
    not indented. Where they are no Python (text in three quotes that is not indented) the whole module is.
    """
    text = path.read_text(encoding="utf-8")
    parts = [(text, 0)]
    starts = [found.start() for found in re.finditer(rf"^{variable} = ", text, re.MULTILINE)]
    if len(starts) == 1:
        end = re.compile(r"^[^\s)\]}]", re.MULTILINE).search(text, starts[0] + 1)
        alone = text[starts[0] : end.start() if end else None]
        parts.insert(0, (alone, text.count("\n", 0, starts[0])))
    for part, before in parts:
        try:
            tree = ast.parse(part)
        except SyntaxError:
            continue
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == variable:
                return node.lineno + before, ast.Expression(node.value)
    return None


@cache
def _declaration(kind: Kind[Declaration], name: str) -> Declaration:
    module, variable = kind.module(name), kind.variable
    path = source(module)
    found = _assignment(path, variable)
    if found:
        line, expression = found
        try:
            declared = eval(compile(expression, str(path), "eval"), dict(vars(declarations)))
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise CatalogueError(
                f"{path}:{line}: {variable} of {kind.name} {name} cannot be read ({why}); "
                f"it may use plain values and the words of rodflow.config.declarations only"
            ) from error
        if isinstance(declared, kind.declared):
            return declared
    raise CatalogueError(
        f"{path}: has no {variable} = {kind.declared.__name__}(...), which declares the {kind.name} {name}"
    )
