"""One look for all pictures: sizes, colours, markers and text that no class name can break."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.text import Text

WIDTH = 7.1  # inches: 180 mm, the width of a two-column page
INK = "#23272e"
MUTED = "#6b7280"
FAINT = "#e5e7eb"
NOISE = "#d4d4d8"
COLORS: tuple[str, ...] = tuple(matplotlib.colors.to_hex(rgb) for rgb in matplotlib.color_sequences["petroff10"])
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", ">", "p")
FAMILY = "DejaVu Sans"  # ships with matplotlib, so that pictures are the same on every machine
_MISSING = "\N{WHITE SQUARE}"

STYLE: dict[Any, Any] = {
    "font.family": FAMILY,
    "font.size": 8.0,
    "text.color": INK,
    "text.parse_math": False,
    "axes.titlesize": 9.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 6.0,
    "axes.labelsize": 8.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.formatter.useoffset": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "hatch.linewidth": 0.5,
    "figure.facecolor": "white",
    "figure.titlesize": 8.0,
    "figure.constrained_layout.use": True,
}

_Arguments = ParamSpec("_Arguments")


def styled(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Let a drawing function work in the common style, leaving matplotlib's global settings alone."""

    @functools.wraps(draw)
    def in_style(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            for text in figure.findobj(Text):  # `$` in a class name is a dollar, not a formula
                text.set_parse_math(False)
            return figure

    return in_style


@functools.cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FAMILY)).get_charmap())


def _printable_character(character: str) -> str:
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category in {"Cc", "Cf"} or 0xFE00 <= ord(character) <= 0xFE0F:
        return ""  # joiners, direction marks, variation selectors: no shape of their own
    if ord(character) in _glyphs():
        return character
    return "" if category.startswith("M") else _MISSING


def printable(text: object) -> str:
    """`text` on one line, with a white square for each character that the font cannot draw."""
    return " ".join("".join(map(_printable_character, str(text))).split())


@functools.cache
def _advance(character: str) -> float:
    from matplotlib.ft2font import LoadFlags

    font = get_font(findfont(FAMILY))
    font.set_size(100, 72)
    return font.load_char(ord(character), flags=LoadFlags.NO_HINTING).linearHoriAdvance / 65536 / 100


def text_width(text: str, size: float) -> float:
    """Width of printable `text` in points at font size `size`, without kerning."""
    return size * sum(map(_advance, text))


def shorten(text: object, width: float, size: float) -> str:
    """`text`, printable, cut with an ellipsis to at most `width` points at font size `size`."""
    line = printable(text)
    if text_width(line, size) <= width:
        return line
    while line and text_width(line + "…", size) > width:
        line = line[:-1]
    return line.rstrip() + "…"


def wrap(text: object, width: float, size: float, lines: int) -> list[str]:
    """Break `text` into at most `lines` printable lines of `width` points; the last one may end in '…'."""
    rest = printable(text)
    broken: list[str] = []
    while rest and len(broken) < lines - 1:
        line, rest = _first_line(rest, width, size)
        broken.append(line)
    return [*broken, shorten(rest, width, size)] if rest else broken


def _first_line(text: str, width: float, size: float) -> tuple[str, str]:
    if text_width(text, size) <= width:
        return text, ""
    fits = 1
    while text_width(text[: fits + 1], size) <= width:
        fits += 1
    space = text.rfind(" ", 1, fits + 1)
    end = space if space > 0 else fits
    return text[:end], text[end:].lstrip()


def group_style(rank: int) -> tuple[str, str]:
    """Colour and marker of the group with this rank: ten colours, then the same with the next marker."""
    return COLORS[rank % len(COLORS)], MARKERS[rank // len(COLORS) % len(MARKERS)]


def halo(width: float = 2.0) -> list[AbstractPathEffect]:
    """A white outline, so that text can be read on top of points."""
    return [withStroke(linewidth=width, foreground="white")]


def sentence(text: object) -> str:
    """`text`, printable, with a capital at its beginning: how titles are written."""
    line = printable(text)
    return line[:1].upper() + line[1:]


def title(axes: Axes, heading: str, subtitle: str) -> None:
    """Head a picture: what it shows, and under it, quieter, in which space."""
    axes.set_title(printable(heading), pad=17)
    axes.annotate(
        printable(subtitle), (0, 1), xytext=(0, 5), xycoords="axes fraction", textcoords="offset points",
        ha="left", va="bottom", color=MUTED, fontsize=7.5, in_layout=False,
    )  # fmt: skip


def nothing_to_draw(axes: Axes, reason: str) -> None:
    """Say in the middle of otherwise empty axes why they are empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, printable(reason), transform=axes.transAxes, ha="center", va="center", color=MUTED)


def contrast(rgba: tuple[float, float, float, float]) -> str:
    """Black or white, whichever is easier to read on this colour (WCAG relative luminance)."""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgba[:3])
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "white"
