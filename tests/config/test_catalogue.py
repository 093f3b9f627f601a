"""How a declaration is found in the source of its module."""

import ast
from pathlib import Path

import pytest

from rodflow.config import catalogue
from rodflow.config.catalogue import KINDS, Kind

EVERY = [(kind, name) for kind in KINDS for name in kind]


@pytest.mark.parametrize(("kind", "name"), EVERY, ids=lambda one: getattr(one, "name", one))
def test_the_lines_of_a_declaration_alone_say_what_the_whole_module_says(
    kind: Kind, name: str
) -> None:
    path = catalogue.source(kind.module(name))
    (whole,) = (
        node
        for node in ast.parse(path.read_bytes()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == kind.variable
    )
    found = catalogue._assignment(path, kind.variable)
    assert found
    line, expression = found
    assert (line, ast.dump(expression.body)) == (whole.lineno, ast.dump(whole.value))


@pytest.mark.parametrize(
    "text",
    [
        'MODEL = Model(title="a")\n',
        'MODEL = Model(title="a")',
        'import flax\n\nMODEL = Model(\n    title="a",\n)\nclass A: ...\n',
        'MODEL = Model(\n# not indented\n    title="a",\n)\n',
        'MODEL = """\nnot indented\n"""\n',
        '"""A module.\n\nMODEL = Model(\n"""\n\nMODEL = Model(title="a")\n',
        'MODEL = Model(title="a") \\\nor 3\n',
        'MODEL = dict(title="a")  # MODEL = 3\nMODELS = 3\n',
    ],
)
def test_a_declaration_is_read_however_it_is_laid_out(text: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    (whole,) = (
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODEL"
    )
    found = catalogue._assignment(path, "MODEL")
    assert found
    assert found[0] == whole.lineno
    assert ast.dump(found[1].body) == ast.dump(whole.value)


@pytest.mark.parametrize("text", ["", "MODELS = 3\n", "class A:\n    MODEL = 3\n", "MODEL = (\n"])
def test_what_declares_nothing_is_no_declaration(text: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert catalogue._assignment(path, "MODEL") is None
