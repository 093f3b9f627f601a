"""What a result depends on in the code: a digest of the modules that made it, without comments and docstrings.

The modules are found from the imports of the one that a stage calls, read from their source; nothing is imported. What
a stage chooses by name (an optimizer, a model, a flow) it loads through `rodflow.config.catalogue`, so that its module
is no import of the stage and is named beside it:

    digest("rodflow.stages.flow", FLOWS.module("rod"), OPTIMIZERS.module("adam"), MODELS.module("mlp"))

A change of a comment, a docstring or the form of the code leaves the digest as it is. So does a change of a module that
is not used.
"""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rodflow.config.catalogue import CatalogueError, source


def digest(*modules: str) -> str:
    """SHA-256, in hexadecimal, of the code of these modules and of all that they import from the same packages.

    Raises:
        CatalogueError: a module cannot be found.
    """
    parts = [f"{name} {_read(name).code}" for name in closure(*modules)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def closure(*modules: str) -> tuple[str, ...]:
    """These modules, those that they import from their own package or from this one, and so on; sorted.

    Raises:
        CatalogueError: one of these modules cannot be found; of those that they import that is no error.
    """
    found = dict.fromkeys(modules)
    waiting = list(found)
    while waiting:
        for imported in _imports(waiting.pop()):
            if imported not in found:
                found[imported] = None
                waiting.append(imported)
    return tuple(sorted(found))


@cache
def _imports(module: str) -> tuple[str, ...]:
    """The modules that one imports, with the packages that they are in: Python runs those first."""
    ours = {module.split(".")[0], __name__.split(".")[0]}
    found: dict[str, None] = dict.fromkeys(_with_packages(module))
    for node in _read(module).imports:
        for name in _named(node, module):
            if name.split(".")[0] in ours:
                found |= dict.fromkeys(_with_packages(name))
    return tuple(name for name in found if name != module and _exists(name))


def _named(node: ast.Import | ast.ImportFrom, module: str) -> Iterator[str]:
    """What an import statement names; of `from a import b` both a and a.b, which may be a module."""
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    else:
        base = node.module or ""
        if node.level:  # relative: from the package of the module
            inside = module if source(module).name == "__init__.py" else module.rpartition(".")[0]
            for _ in range(node.level - 1):
                inside = inside.rpartition(".")[0]
            base = f"{inside}.{base}".strip(".")
        yield base
        yield from (f"{base}.{name.name}" for name in node.names)


def _with_packages(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


@cache
def _exists(module: str) -> bool:
    try:
        source(module)
    except CatalogueError:
        return False
    return True


@dataclass(frozen=True)
class _Read:
    """What a module's file says: its digest, and what it imports."""

    code: str
    imports: tuple[ast.Import | ast.ImportFrom, ...]


def _read(module: str) -> _Read:
    path = _file(module)
    state = path.stat()
    return _read_as_it_is(path, state.st_mtime_ns, state.st_size)


_file = cache(source)


@cache
def _read_as_it_is(path: Path, changed: int, size: int) -> _Read:
    tree = ast.parse(path.read_bytes())
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    return _Read(imports=tuple(found), code=_digest_of(tree))


def code_of(content: bytes) -> str:
    """SHA-256 of a module's syntax without texts that stand alone, which are docstrings."""
    return _digest_of(ast.parse(content))


def _digest_of(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                kept = [one for one in body if not _is_text(one)]
                setattr(node, field, kept)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
