"""Which modules of this package draw a figure, read from their source. Imports no matplotlib."""

import ast
from pathlib import Path

_FOLDER = Path(__file__).parent
_PACKAGE = __package__ or _FOLDER.name


def modules(figure: str) -> tuple[str, ...]:
    """The module of a figure, those of this package that it imports, and those that they import.

    A list by hand is forgotten when a figure begins to use one more module, and then an edit of it
    draws nothing again; and to import a figure in order to ask would load matplotlib at every call of the
    workflow.

    Returns:
        Names without the package, the figure's own first.
    """
    found = [figure]
    for module in found:  # grows on the way
        tree = ast.parse((_FOLDER / f"{module}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == _PACKAGE:
                imported = [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported = [(node.module or "").removeprefix(f"{_PACKAGE}.")]
            elif isinstance(node, ast.Import):
                imported = [name.name.removeprefix(f"{_PACKAGE}.") for name in node.names]
            else:
                continue
            ours = [name for name in imported if (_FOLDER / f"{name}.py").exists()]
            found += [name for name in ours if name not in found]
    return tuple(found)
