"""The house: its rooms, which way imports go, and how large a module and a function may be."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import rodflow
from rodflow.errors import RodflowError

SOURCE = Path(rodflow.__file__).parent
FLOORS = (
    ("errors",),
    ("config",),
    ("store",),
    ("analysis",),
    ("linalg", "problem"),
    ("optimizers",),
    ("dynamics",),
    ("stages",),
    ("figures",),
    ("audit",),
    ("cli",),
)
"""From the ground up. A module imports from its own room and from floors below."""
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION = 400, 60
REASON = "# Longer than others because"


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Full names that a module imports from the package, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are written in full"
            names = [f"{node.module}.{name.name}" for name in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith("rodflow."))


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_the_top_floor_has_at_most_twelve_rooms() -> None:
    rooms = {room(path) for path in MODULES} - {"__init__", "__main__"}
    assert rooms <= set(HEIGHT)
    assert len(rooms) <= 12


def test_no_import_goes_up_a_floor_or_to_a_neighbour() -> None:
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in MODULES
        if room(path) not in ("__init__", "__main__")
        for name in imported(path)
        if (other := name.split(".")[1]) != room(path)
        and HEIGHT.get(other, len(FLOORS)) >= HEIGHT[room(path)]
    ]
    assert not wrong


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = {name_of(path) for path in MODULES}
    graph = {
        name_of(path): {
            name if name in known else name.rpartition(".")[0] for name in imported(path)
        }
        & known
        for path in MODULES
    }
    while free := [name for name, below in graph.items() if not below & graph.keys()]:
        for name in free:
            del graph[name]
    assert not graph


def test_the_face_of_a_room_imports_nothing() -> None:
    faces = [path for path in MODULES if path.name == "__init__.py" and path.parent != SOURCE]
    assert not [name_of(path) for path in faces if [*imported(path)]]


def test_a_module_is_short_or_says_why_not() -> None:
    texts = {name_of(path): path.read_text(encoding="utf-8") for path in MODULES}
    lengths = {name: len(text.splitlines()) for name, text in texts.items() if REASON not in text}
    assert {k: v for k, v in lengths.items() if v > LONGEST_MODULE} == {}


def test_a_function_is_short_or_says_why_not() -> None:
    found = {}
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                last = node.end_lineno or node.lineno
                lines = text.splitlines()[node.lineno - 1 : last]
                if len(lines) > LONGEST_FUNCTION and REASON not in "\n".join(lines):
                    found[f"{name_of(path)}.{node.name}"] = len(lines)
    assert found == {}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_error_is_one_of_the_library(path: Path) -> None:
    module = importlib.import_module(name_of(path))
    errors = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Exception)
        and value.__module__ == module.__name__
    ]
    assert all(issubclass(error, RodflowError) for error in errors)


def test_the_test_tree_mirrors_the_package() -> None:
    rooms = {module.name for module in pkgutil.iter_modules([str(SOURCE)])} - {"errors", "__main__"}
    folders = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir()}
    assert rooms <= folders
    assert folders - rooms - {"__pycache__", "data"} <= {"workflow"}


def test_the_page_of_the_house_names_only_what_exists() -> None:
    """In a row a bare name stands beside the path before it."""
    repository = SOURCE.parents[1]
    rows = re.findall(
        r"^\| (`.*?`) \|", (repository / "docs/architecture.md").read_text(encoding="utf-8"), re.M
    )
    assert len(rows) > 40
    for row in rows:
        folder = Path()
        for name in re.findall(r"`([^`]+)`", row):
            path = folder / name if "/" not in name.rstrip("/") else Path(name)
            path = path if any(repository.glob(str(path))) else folder / name
            assert any(repository.glob(str(path))), f"{name} in: {row}"
            folder = path.parent
