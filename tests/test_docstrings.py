"""Every public function of the reference says what it takes and what it raises."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src/rodflow"
PACKAGES = tuple(path.stem for path in (SOURCE.parent.parent / "docs/api").glob("*.md"))
DECLARED = {"build", "load", "network"}
"""Functions of a declaration, whose settings are described there, one by one."""


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The public functions of a module and methods of its public classes, but those of a class's base."""

    def inside(
        node: ast.Module | ast.ClassDef, prefix: str
    ) -> Iterator[tuple[str, ast.FunctionDef]]:
        for one in node.body:
            name = getattr(one, "name", "_")
            if name.startswith("_"):
                continue
            if isinstance(one, ast.ClassDef):
                yield from inside(one, f"{name}.")
            elif isinstance(one, ast.FunctionDef):
                yield prefix + name, one

    yield from inside(ast.parse(path.read_text(encoding="utf-8")), "")


def parameters(function: ast.FunctionDef) -> list[str]:
    """The names of what a function takes."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [one.arg for one in given if one.arg not in ("self", "cls")]


def described(text: str) -> set[str]:
    """The names under `Args:` of a docstring; several may share a line."""
    if "Args:" not in text:
        return set()
    lines = text.split("Args:")[1].splitlines()[1:]
    depth = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    found = set()
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent < depth:
            break
        if indent == depth and ":" in line:
            found |= {name.strip(" *`") for name in line.split(":")[0].split(",")}
    return found


MODULES = sorted(
    path.relative_to(SOURCE).as_posix()
    for package in PACKAGES
    for path in (SOURCE / package).rglob("*.py")
)


@pytest.mark.parametrize("module", MODULES)
def test_public_functions_describe_what_they_take_and_raise(module):
    lacking = []
    for name, function in functions(SOURCE / module):
        text, last = ast.get_docstring(function) or "", name.rpartition(".")[2]
        inherited = not text and "." in name  # the base class describes it
        if last in DECLARED or inherited:
            continue
        missing = set(parameters(function)) - described(text)
        if missing and len(parameters(function)) > 1:
            lacking.append(f"{name}: {', '.join(sorted(missing))}")
        if (
            any(isinstance(node, ast.Raise) for node in ast.walk(function))
            and "Raises:" not in text
        ):
            lacking.append(f"{name}: Raises")
    assert lacking == []
