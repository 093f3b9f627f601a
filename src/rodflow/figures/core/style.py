"""How figures look, what they are made of, and how they are stored.

One colour and one line for each process in every figure (seaborn's colour-blind palette), words
for people instead of names from the config, and files that are the same bytes on every rendering.
A figure's module draws inside `with styled():` and enters everything it draws in `Numbers`.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Unpack

import matplotlib.style
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from rodflow.config.catalogue import DATASETS, FLOWS, MODELS, OPTIMIZERS
from rodflow.config.declarations import SYMBOLS
from rodflow.figures.core.keywords import Dashes, Font, Look
from rodflow.store.files import write_bytes
from rodflow.store.results import DISCRETE, StoredRun

PALETTE = dict(
    zip(
        "blue orange green vermilion purple brown pink grey yellow sky".split(),
        sns.color_palette("colorblind").as_hex(),
        strict=True,
    )
)
PALETTE["indigo"] = "#332288"  # of Tol's muted scheme
"""Colours that the colour-blind tell apart, by name."""

DASHED, DOTTED = (0, (4, 2)), (0, (1, 2))
"""Dashes of lines that say where something is."""

SMALL = 6.5
"""Size of words beside and in panels, in points."""

INK, FAINT, BAND = "#262626", "#8c8c8c", "#f0f0f0"
"""Colours of text, of marks that stand back, and of areas."""

THIN: Look = {"color": FAINT, "linewidth": 0.7, "zorder": 1}
REFERENCE: Look = {"color": INK, "linewidth": 0.8, "zorder": 1}
"""Lines across panels: one that stands back, and one to compare with."""

WHITE: Look = {"facecolor": "white", "linewidth": 0, "pad": 1}
"""The box of words that stand on lines."""

DPI = 180
"""Resolution of the PNG."""

_RC: dict[str, object] = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("paper"),
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.solid_capstyle": "round",
    "pdf.fonttype": 42,
}


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's settings for a figure, whatever the user's own are."""
    with matplotlib.style.context(["default", _RC]):
        yield


@dataclass(frozen=True)
class ProcessStyle:
    """The look of a process, the same in every figure.

    Attributes:
        label, short: its name for people, and the same where the figure says already what it is about.
        line: keyword arguments of `Axes.plot`.
    """

    label: str
    short: str
    line: Look = field(hash=False)

    @property
    def color(self) -> str:
        """The colour of its line."""
        return self.line["color"]

    @property
    def text_color(self) -> str:
        """The colour of words about it: that of its line where one can read it."""
        return {_PALE: "#595959"}.get(self.color, self.color)


def _style(
    label: str, short: str, color: str, width: float, dashes: Dashes, zorder: float
) -> ProcessStyle:
    line = {"color": color, "linewidth": width, "linestyle": dashes, "zorder": zorder}
    return ProcessStyle(label, short, line)


_PALE = "#b3b3b3"
# The discrete run is broad and pale, so that a flow that agrees with it is seen on top of it.
_DISCRETE = _style("discrete run", "discrete", _PALE, 3.0, "-", 2.0)


def process_style(process: str) -> ProcessStyle:
    """The look of a process; grey dash-dots for one that has none of its own."""
    if process == DISCRETE:
        return _DISCRETE
    if process not in FLOWS:
        name = process.replace("_", " ")
        return _style(name, name, "#595959", 1.0, (0, (5, 1.5, 1, 1.5)), 2.05)
    flow = FLOWS[process]
    color = INK if flow.color == "ink" else PALETTE[flow.color]
    return _style(flow.label, flow.short, color, 1.2, flow.dashes, flow.above)


def process_marker(process: str) -> str:
    """The mark of a process where it is a point, the same in every figure: see `matplotlib.markers`."""
    if process == DISCRETE:
        return "o"
    return FLOWS[process].marker if process in FLOWS else "X"


def optimizer_label(optimizer: str) -> str:
    """An optimizer's name for people."""
    return OPTIMIZERS[optimizer].label if optimizer in OPTIMIZERS else optimizer.replace("_", " ")


def model_label(model: str) -> str:
    """A model's name for people."""
    return MODELS[model].label if model in MODELS else model.replace("_", " ")


def dataset_label(name: str) -> str:
    """A data set's name for people; of one's own data that of the function which makes it."""
    return DATASETS[name].label if name in DATASETS else name.rpartition(":")[2]


def hyperparameters(run: StoredRun) -> list[str]:
    """Learning rate and decays of a run as formulas, such as "η = 0.1"; of a rate in time its peak and its name."""
    given = run.settings["optimizer"]
    symbols = OPTIMIZERS[run.optimizer].formulas if run.optimizer in OPTIMIZERS else SYMBOLS
    found: list[str] = []
    for key, symbol in symbols.items():
        match given.get(key):
            case {"schedule": name, "peak": peak}:
                found += [f"{symbol} ≤ {peak:g}", name.replace("_", " ")]
            case int() | float() as number:
                found.append(f"{symbol} = {number:g}")
    return found


def error_words(value: float) -> str:
    """A tracking error in two digits, as 1.2e-3."""
    if not np.isfinite(value):
        return "none"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def two_digits(value: float) -> str:
    """A number in two digits, a zero too, from 10 to 99999 as a whole number: 0.0012, 2.0, 38, 6100."""
    return f"{float(f'{value:.2g}'):.0f}" if 10 <= abs(value) < 1e5 else f"{value:#.2g}"


def times_words(value: float) -> str:
    """A ratio of step times in two digits or as a whole number, as 1.5×."""
    return f"{value:.2g}×" if value < 10 else f"{value:.0f}×"


def note(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    *,
    coordinates: tuple[str, str] = ("axes fraction", "axes fraction"),
    shift: tuple[float, float] = (0, 0),
    room: bool = True,
    **font: Unpack[Font],
) -> None:
    """Write text `shift` points away from a place, inside the axes or not; with `room` made for it beside them.

    Args:
        axes, text, at, shift: words in a panel, so many points to the right of a place and above it.
        coordinates: those in which `at` is given, as `Axes.annotate` has them, for x and y.
        room: whether the layout makes room for the words.
        font: what is not as usual.
    """
    look: Look = {"fontsize": SMALL, **font}
    written = axes.annotate(
        text,
        at,
        shift,
        xycoords=coordinates,
        textcoords="offset points",
        annotation_clip=False,
        **look,
    )
    written.set_in_layout(room)


def note_lines(axes: Axes, lines: Iterable[tuple[str, str]]) -> None:
    """Write lines of text, each (words, colour), upwards from the lower left corner of the axes.

    Args:
        axes, lines: the panel, and the lines from the lowest on.
    """
    for place, (text, color) in enumerate(lines):
        note(axes, text, (0, 0), shift=(3, 2 + 8 * place), room=False, color=color)


def lines_of(processes: Iterable[str]) -> list[Line2D]:
    """What a key shows of processes: their lines, with their names."""
    styles = map(process_style, processes)
    return [Line2D([], [], label=style.label, **style.line) for style in styles]


_KEY = 0.93
"""How much of a figure's width a key may take: letters are hinted to other widths at the resolution of the PNG."""


def key(figure: Figure, handles: Sequence[Artist], *, title: str = "", lines: int = 1) -> None:
    """Name what is drawn, once, above the panels, in as few lines as fit into the figure.

    Args:
        figure, handles: the figure, and what to name, with their labels.
        title, lines: words above them, and at least so many lines.
    """
    look: Look = {"frameon": False, "fontsize": 7.5, "handlelength": 2.6}
    look |= {"title": title, "title_fontproperties": {"size": 8, "weight": "bold"}}
    for count in range(lines, max(lines, len(handles)) + 1):
        columns = max(-(-len(handles) // count), 1)
        legend = figure.legend(handles=handles, loc="outside upper center", ncols=columns, **look)
        if legend.get_window_extent().width <= _KEY * figure.bbox.width or columns == 1:
            return
        legend.remove()


def end_labels(
    axes: Axes, entries: Iterable[tuple[float, str, str]], *, apart: float = 8.0
) -> None:
    """Write labels to the right of the axes, as near to their heights as their neighbours allow.

    Args:
        axes: axes whose limits are final.
        entries: (height in data coordinates, text, colour).
        apart: distance of neighbouring labels, in points.
    """
    to_axes = axes.transScale + axes.transLimits
    found = sorted(
        (float(np.clip(to_axes.transform((axes.get_xlim()[1], y))[1], 0, 1)), text, color)
        for y, text, color in entries
    )
    if not found:
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    height = axes.get_window_extent().height * 72 / figure.dpi
    heights = _spread(np.array([y for y, _, _ in found]) * height, apart)
    for y, (_, text, color) in zip(heights, found, strict=True):
        note(axes, text, (1, 0), shift=(4, float(y)), color=color, va="center")


def _spread(heights: np.ndarray, apart: float) -> np.ndarray:
    """Heights moved as little as possible (least squares) to be `apart` or more: isotonic, by pooling neighbours."""
    pools: list[list[float]] = []
    for target in heights - apart * np.arange(len(heights)):
        pools.append([target])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    level = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])
    return level + apart * np.arange(len(heights))


class OfNoRun(NamedTuple):
    """What stands in a table for numbers that are of no stored run."""

    model: str
    optimizer: str
    seed: int = 0


class Numbers:
    """Collects what a figure draws, in long form."""

    COLUMNS = ("model", "optimizer", "seed", "process", "quantity", "step", "value", "unit")

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []

    def add(
        self,
        run: StoredRun | OfNoRun,
        process: str,
        quantity: str | Sequence[str],
        values: ArrayLike,
        steps: Sequence[int] | np.ndarray | None = None,
        unit: str = "1",
    ) -> None:
        """Enter numbers that are about to be drawn.

        Args:
            run, process: whose they are.
            quantity: what they are, all or each.
            values: one number or a sequence.
            steps: the optimizer steps they belong to; None for numbers of a whole run.
            unit: of the values; "1" where they are dimensionless.
        """
        values = np.atleast_1d(np.asarray(values, np.float64))
        part = pd.DataFrame({"value": values})
        part["step"] = pd.array([pd.NA] * len(values) if steps is None else steps, dtype="Int64")
        whose = {"model": run.model, "optimizer": run.optimizer, "seed": run.seed}
        part = part.assign(**whose, process=process, quantity=quantity, unit=unit)
        self._parts.append(part[list(self.COLUMNS)])

    def table(self) -> pd.DataFrame:
        """Everything entered, in the order of drawing."""
        if not self._parts:
            return pd.DataFrame(columns=list(self.COLUMNS))
        return pd.concat(self._parts, ignore_index=True)


@dataclass(frozen=True)
class Drawing:
    """A figure and exactly the numbers it draws.

    Attributes:
        figure: the figure, on an Agg canvas.
        table: model, optimizer, seed, process, quantity, step, value and unit.
        shows: sentences for the caption on what these runs show, in reStructuredText.
    """

    figure: Figure
    table: pd.DataFrame
    shows: str = ""


def save(drawing: Drawing, stem: str | Path, caption: str = "") -> Sequence[Path]:
    """Store a drawing as `<stem>.pdf`, `.png`, `.csv` and, with a caption, `.rst`, each complete or not at all.

    The bytes depend on the drawing and the versions of the libraries only: no date, no name of a
    program. Numbers in the CSV have as many digits as give the same float64 back. The paths are returned in this order.

    Args:
        drawing, stem, caption: what is stored, the path but for the suffix, and reStructuredText.

    Raises:
        ArtifactError: a file cannot be written.
    """
    csv = drawing.table.to_csv(index=False, lineterminator="\n")
    contents = {".pdf": _rendered(drawing.figure, "pdf", CreationDate=None)}
    contents[".png"] = _rendered(drawing.figure, "png", Software=None)
    contents[".csv"] = csv.encode()
    if caption:
        contents[".rst"] = caption.encode()
    paths = []
    for suffix, content in contents.items():
        path = Path(f"{stem}{suffix}")
        write_bytes(path, content)
        paths.append(path)
    return paths


def _rendered(figure: Figure, kind: str, **metadata: None) -> bytes:
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
    return buffer.getvalue()
