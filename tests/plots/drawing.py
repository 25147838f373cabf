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
