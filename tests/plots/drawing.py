"""What tests of pictures share."""

from __future__ import annotations

import io

from matplotlib.figure import Figure
from matplotlib.text import Text

NASTY = [
    "$\\alpha_$ cat",
    "日本語 クラス",
    "🐱 emoji 👩\u200d🚀",
    "<script>alert(1)</script>",
    "a\nb",
    "العربية",
    "$100",
    "%d {x}",
    "\x00ctl",
    "\ud800",
    "a very long class name that goes on and on and never seems to come to an end",
]


def png(figure: Figure) -> bytes:
    """Draw it: glyphs that are missing, formulas and layouts fail only here. Warnings are errors in tests."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=60)
    return file.getvalue()


def texts(figure: Figure) -> list[str]:
    """Everything that is written in a drawn figure."""
    png(figure)
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def inside_the_picture(figure: Figure) -> None:
    """Nothing is cut off at an edge, the subtitles included that the layout leaves alone."""
    figure.draw_without_rendering()
    whole = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(whole.x0, whole.y0, width - whole.x1, height - whole.y1) > -0.03
    for text in figure.findobj(lambda artist: isinstance(artist, Text) and not artist.get_in_layout()):
        box = text.get_window_extent()
        assert figure.bbox.padded(2).contains(*box.min), text.get_text()
        assert figure.bbox.padded(2).contains(*box.max), text.get_text()
