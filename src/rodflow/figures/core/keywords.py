"""Types of the keywords that matplotlib takes for lines, words and other artists."""

from typing import Any, TypedDict

Dashes = str | tuple[float, tuple[float, ...]]
"""Of a line, as matplotlib has them."""

Look = dict[str, Any]
"""Keywords of any matplotlib artist, such as its color and its zorder; each kind has others, of other types."""


class Font(TypedDict, total=False):
    """Keywords of words."""

    bbox: Look
    color: str
    fontsize: float
    fontweight: str
    gid: str
    ha: str
    linespacing: float
    rotation: float
    va: str
    zorder: float


class Stroke(TypedDict, total=False):
    """Keywords of a line."""

    alpha: float
    color: str
    label: str
    linestyle: Dashes
    linewidth: float
    zorder: float
