"""Where in code of one's own an error arose, and what it says, in one line.

    problem.py:71: TypeError: sub got incompatible shapes: (20, 3), (20, 2); in: return jnp.mean(outputs - targets)

Code that a config names is that of the folders it was loaded from (`know`). To the library anything else is one's own
that is neither the library, an installed package nor Python itself.
"""

import linecache
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rodflow.errors import RodflowError

_PACKAGE = Path(__file__).resolve().parents[1]
_PYTHON = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
_PYTHON |= {folder.resolve() for folder in _PYTHON}
_INSTALLED = {"site-packages", "dist-packages"}
_FOLDERS: set[Path] = set()
"""Where code of one's own was loaded from, in this process."""
_LONGEST = 100
"""Characters of a line of code that are shown."""

TRACED: Mapping[str, str] = {
    "TracerBoolConversionError": "a traced value is neither true nor false yet; write jnp.where or jax.lax.cond for if",
    "TracerIntegerConversionError": "a traced value is no whole number of Python yet; count with jnp or jax.lax",
    "TracerArrayConversionError": "a traced value is no NumPy array; write jnp for np",
    "NonConcreteBooleanIndexError": "a traced mask leaves the shape open; write jnp.where(mask, x, 0) for x[mask]",
    "ConcretizationTypeError": "a traced value is no number of Python yet; leave out float, int and .item()",
    "UnexpectedTracerError": "a traced value was kept from an earlier call; give it back instead of keeping it",
}
"""What JAX refuses of a value that it only follows, by the name of its error, which says the same in many lines."""


@dataclass(frozen=True)
class Line:
    """A line of code; as a text FILE:LINE.

    Attributes:
        file: relative to the working folder, if it is in it.
        number: of the line, from 1 on.
        text: what stands there; "" where the file is not at hand.
    """

    file: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


def know(folder: Path) -> None:
    """Code in a folder is one's own from now on."""
    _FOLDERS.add(folder)


def is_own(file: str | None) -> bool:
    """Whether code is of a folder that is known."""
    return file is not None and _of_a_known_folder(file)


def line(error: BaseException, *, anywhere: bool = False) -> Line | None:
    """The innermost line of code of one's own that an error passed through; None where it did not.

    Args:
        error: with its causes.
        anywhere: whether code is one's own that is in no folder that is known.
    """
    mine = _anywhere if anywhere else _of_a_known_folder
    seen: BaseException | None = error
    found = None
    while seen is not None:
        for file, number in _frames(seen.__traceback__, mine):
            found = _line(file, number)
        if isinstance(seen, SyntaxError) and seen.filename and mine(seen.filename):
            found = _line(seen.filename, seen.lineno or 1)
        seen = seen.__cause__ or seen.__context__
    return found


def said(error: BaseException, where: Line | None) -> str:
    """What an error says in one line, between where in code of one's own it arose and what stands there.

    Args:
        error: what was raised; one of the library says its text alone, any other its type too.
        where: the line of code of one's own, see `line`; None: none, and nothing is said of it.
    """
    text = str(error) if isinstance(error, RodflowError) else words(error)
    if where is None or str(where) in text:
        return text
    return f"{where}: {text.rstrip('.')}" + (f"; in: {where.text}" if where.text else "")


def words(error: BaseException) -> str:
    """What an error says, in one line."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith("jax")]
    known = [TRACED[name] for name in names if name in TRACED]
    text = known[0] if known else " ".join(str(error).split())[:400]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _frames(trace: TracebackType | None, mine: Callable[[str], bool]) -> Iterator[tuple[str, int]]:
    """File and number of the lines of one's own, from the outermost on."""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if mine(name):
            yield name, trace.tb_lineno
        trace = trace.tb_next


def _line(name: str, number: int) -> Line:
    linecache.checkcache(name)
    text = linecache.getline(name, number).strip()
    path, here = Path(name), Path.cwd()
    file = str(path.relative_to(here)) if here in path.parents else name
    return Line(file, number, text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def _of_a_known_folder(name: str) -> bool:
    return _anywhere(name) and any(folder in Path(name).parents for folder in _FOLDERS)


def _anywhere(name: str) -> bool:
    """Whether a file is neither the library's, an installed package's nor Python's; what was typed in is one's own."""
    path = Path(name)
    if name.startswith("<"):
        return name.startswith(("<stdin>", "<ipython"))
    if _INSTALLED & {*path.parts} or _PACKAGE in path.parents:
        return False
    return not any(folder in path.parents for folder in _PYTHON)
