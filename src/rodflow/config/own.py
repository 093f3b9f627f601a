"""Code of one's own that a config names, `python: FILE.py:NAME`, read without being run.

    optimizers:
      mine: {python: problem.py:mine, learning_rate: 0.02, start: 50, steps: 600}

The file is looked for beside the config. NAME is a function or a class of it, and its arguments are the keys that
the config may give: from the signature alone follow a declaration of the same form as a built-in one, and so names,
types, defaults and refusals. `rodflow.config.loading` runs the code, in the jobs that need it.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rodflow.config.declarations import DataSet, Form, Model, Optimizer, Setting, value, whole
from rodflow.config.messages import suggest
from rodflow.config.paths import placed
from rodflow.config.reference import OwnError, Reference, digest, parsed, reference

GIVEN: Mapping[str, tuple[str, ...]] = {
    "optimizer": ("steps",),
    "model": ("seed", "key", "rngs"),
    "data": ("files",),
    "criterion": (),
}
"""Arguments that a run fills in by itself, where the code has them: they are no keys of a config."""

FAMILY_KEYS: Mapping[str, tuple[str, ...]] = {
    "optimizer": ("name", "python", "start", "restart", "batch_size", "flows", "only", "models"),
    "model": ("kind", "python", "samples", "steps"),
    "data": ("name", "python", "samples", "own"),
    "criterion": ("python",),
}
"""Keys of the config that no argument may be named as."""


@dataclass(frozen=True)
class Source:
    """A function or a class, as its text says.

    Attributes:
        settings: the arguments that a config may give, by name.
        takes: all arguments.
        digest: of the code of its file and of the files beside it that it imports.
    """

    settings: Mapping[str, Setting]
    takes: tuple[str, ...]
    digest: str


def source(folder: Path, text: object, family: str) -> Source:
    """What a config may give to the code that it names.

    Args:
        folder: of the config.
        text: what stands after `python:`.
        family: "optimizer", "model", "data" or "criterion".

    Raises:
        OwnError: there is no such file or name in it, or its arguments cannot be told; begins with "is".
        PathError: the file is in a home folder that there is not.
    """
    what = reference(text)
    if what is None:
        raise OwnError("it must be FILE.py:NAME, a file beside the config and a name in it")
    path = placed(what.file, folder)
    tree = parsed(path)
    node = _named(tree, what)
    arguments = _arguments(node, tree)
    names = tuple(arguments)
    if family == "criterion":
        if len(names) < 2:
            raise OwnError(f"{what.name} must take outputs and targets first")
        arguments = dict([*arguments.items()][2:])
    settings = {
        name: setting
        for name, setting in arguments.items()
        if name not in GIVEN[family] and setting is not None
    }
    if clash := [name for name in settings if name in FAMILY_KEYS[family]]:
        raise OwnError(
            f"{what.name} takes {clash[0]}, which is another key here; give the argument another name"
        )
    return Source(settings, names, digest(folder, what.file))


def optimizer(name: str, text: str, found: Source) -> Optimizer:
    """The declaration of an optimizer of one's own; whether it is linear is seen when it runs.

    Args:
        name: its name in the config.
        text: the reference, `FILE.py:NAME`.
        found: what its code takes.
    """
    return Optimizer(
        title=f"{text}.",
        label=name.replace("_", " "),
        order=1000,
        hyperparameters={**_python(text), **found.settings},
        momentum=None,
    )


def model(text: str, found: Source) -> Model:
    """The declaration of a model of one's own.

    Args:
        text: the reference, `FILE.py:NAME`.
        found: what its code takes.
    """
    settings = {**_python(text), **found.settings}
    return Model(title=f"{text}.", label=text, order=1000, settings=settings)


def data(text: str, found: Source) -> DataSet:
    """The declaration of data of one's own; it has a setting `files` where the code takes that.

    Args:
        text: the reference, `FILE.py:NAME`.
        found: what its code takes.
    """
    files = value(list[str], "Files beside the config that it reads; ~ is the home folder.", [])
    own = {"files": files} if "files" in found.takes else {}
    settings = {**_python(text), **own, **found.settings, "samples": SAMPLES}
    return DataSet(
        title=f"{text}.",
        label=text.rpartition(":")[2],
        order=1000,
        settings=settings,
        places=("python",),
    )


SAMPLES = whole("How many of the samples, the first ones; null: all.", None, ge=1)


def _python(text: str) -> dict[str, Setting]:
    return {"python": value(Literal[text], "FILE.py:NAME, a file beside the config.")}


Definition = ast.FunctionDef | ast.ClassDef


def _named(tree: ast.Module, what: Reference) -> Definition:
    known = {node.name: node for node in tree.body if isinstance(node, Definition)}
    if what.name in known:
        return known[what.name]
    others = ", ".join(known) or "none"
    raise OwnError(
        f"{what.file} has no function or class {what.name}; it has {others}{suggest(what.name, known)}"
    )


def _arguments(node: Definition, tree: ast.Module) -> dict[str, Setting | None]:
    """The arguments by name; None for one with a default that no config can say."""
    if isinstance(node, ast.FunctionDef):
        return _parameters(node)
    found: dict[str, Setting | None] = {}
    classes = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes and base.id != node.name:
            found |= _arguments(classes[base.id], tree)
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            return dict([*_parameters(one).items()][1:])
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            found[one.target.id] = _setting(one.target.id, one.annotation, one.value)
    return found


def _parameters(node: ast.FunctionDef) -> dict[str, Setting | None]:
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    missing: list[ast.expr | None] = [None] * (len(plain) - len(given.defaults))
    pairs = [
        *zip(plain, [*missing, *given.defaults], strict=True),
        *zip(given.kwonlyargs, given.kw_defaults, strict=True),
    ]
    return {one.arg: _setting(one.arg, one.annotation, default) for one, default in pairs}


_TYPES: Mapping[str, Form] = {"float": float, "int": int, "str": str, "bool": bool}
_ANYTHING: Form = Any  # what pydantic takes for a type that is not checked


def _setting(name: str, annotation: ast.expr | None, default: ast.expr | None) -> Setting | None:
    kind = _ANYTHING if annotation is None else _TYPES.get(ast.unparse(annotation), _ANYTHING)
    words = f"Argument of your code: {name}."
    if default is None:
        return value(kind, words)
    try:
        found = ast.literal_eval(default)
    except (ValueError, TypeError):
        return None
    found = list(found) if isinstance(found, tuple) else found
    if kind is not _ANYTHING and not isinstance(found, (int, float) if kind is float else kind):
        kind = _ANYTHING  # such as None for a number
    return value(kind, words, found)


def scheduled(declared: Optimizer, rate: Setting) -> Optimizer:
    """The declaration of an optimizer whose learning rate is a schedule.

    Args:
        declared: that of the optimizer with a rate that is a number.
        rate: the setting that takes the number's place, see `rodflow.config.schema.rate`.
    """
    changed = {**declared.hyperparameters, "learning_rate": rate}
    return replace(declared, hyperparameters=changed, scheduled=True)
