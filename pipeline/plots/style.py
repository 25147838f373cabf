"""One look for all pictures: sizes, colours, markers and text that no class name can break."""

from __future__ import annotations

import contextlib
import functools
import unicodedata
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
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
PALETTES: dict[str, tuple[str, ...]] = {
    "petroff10": COLORS,
    "tab10": tuple(matplotlib.colors.to_hex(rgb) for rgb in matplotlib.color_sequences["tab10"]),
    # Okabe and Ito (2002), black and yellow last: black reads as text, yellow hardly at all
    "okabe_ito": ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442"),
}
NARROW = 5.5  # inches: below, what stands side by side on a page stands one under the other
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


@dataclass(frozen=True)
class Look:
    """What of the style can be chosen: the width of a page in inches, and the colours of groups."""

    width: float = WIDTH
    colors: tuple[str, ...] = COLORS


_look: ContextVar[Look] = ContextVar("look", default=Look())  # noqa: B039 (it is frozen)


@contextlib.contextmanager
def look(width_mm: float = 180.0, palette: str = "petroff10") -> Iterator[None]:
    """Draw for a page of this width in these colours (a name of PALETTES) meanwhile."""
    width = WIDTH if width_mm == 180 else width_mm / 25.4
    token = _look.set(Look(width, PALETTES[palette]))
    try:
        yield
    finally:
        _look.reset(token)


def page_width() -> float:
    """Inches that a picture may be wide."""
    return _look.get().width


def narrow() -> bool:
    """Whether the page is a column, so that panels stand one under the other."""
    return page_width() < NARROW


def palette() -> tuple[str, ...]:
    """The colours of groups, those farthest apart first."""
    return _look.get().colors


def pair() -> tuple[str, str]:
    """A blue and an orange of the palette: two things to be compared."""
    colors = palette()
    return colors[0], colors[6 if colors == COLORS else 1]


def styled(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Let a drawing function work in the common style, leaving matplotlib's global settings alone."""

    @functools.wraps(draw)
    def in_style(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with matplotlib.rc_context({**STYLE, "axes.prop_cycle": cycler(color=palette())}):
            figure = draw(*args, **kwargs)
            _break_titles(figure)
            for text in figure.findobj(Text):  # `$` in a class name is a dollar, not a formula
                text.set_parse_math(False)
            return figure

    return in_style


def _break_titles(figure: Figure) -> None:
    """Titles and labels that are wider than their place go on in a second line."""
    for axes in figure.axes:
        place = axes.get_subplotspec()
        share = 1.0
        if place is not None:
            share = (place.colspan.stop - place.colspan.start) / place.get_gridspec().ncols
        room = share * figure.get_figwidth() * 72 - max(12, 45 * share)
        for text in (axes.title, axes._left_title, axes._right_title):  # type: ignore[attr-defined]
            _break(text, room)
        _break(axes.xaxis.label, room)
    for text in (figure._suptitle, figure._supxlabel):  # type: ignore[attr-defined]
        if text is not None:
            _break(text, figure.get_figwidth() * 72 - 8)


def _break(text: Text, width: float) -> None:
    size = float(text.get_fontsize()) * (1.12 if text.get_fontweight() == "bold" else 1.0)
    lines = text.get_text().split("\n")
    if any(text_width(printable(line), size) > width for line in lines):
        text.set_text("\n".join(part for line in lines for part in wrap(line, width, size, 3)))


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
    """Colour and marker of the group with this rank: all colours, then the same with the next marker."""
    colors = palette()
    return colors[rank % len(colors)], MARKERS[rank // len(colors) % len(MARKERS)]


def halo(width: float = 2.0) -> list[AbstractPathEffect]:
    """A white outline, so that text can be read on top of points."""
    return [withStroke(linewidth=width, foreground="white")]


def sentence(text: object) -> str:
    """`text`, printable, with a capital at its beginning: how titles are written."""
    line = printable(text)
    return line[:1].upper() + line[1:]


def title(axes: Axes, heading: str, subtitle: str, beside: float = 45) -> None:
    """Head a picture: what it shows, and under it, quieter, in which space. beside: points that stand left of it."""
    room = axes.get_figure().get_figwidth() * 72 - beside  # type: ignore[union-attr]
    lines = wrap(subtitle, room, 7.5, 3)
    axes.set_title("\n".join(wrap(heading, room, 9 * 1.12, 3)), pad=7 + 10 * len(lines))
    axes.annotate(
        "\n".join(lines), (0, 1), xytext=(0, 5), xycoords="axes fraction", textcoords="offset points",
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
