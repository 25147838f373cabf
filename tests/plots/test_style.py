from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure

from pipeline.plots import style


def test_printable_keeps_what_the_font_has_and_boxes_the_rest() -> None:
    assert style.printable("café $x$ α") == "café $x$ α"
    assert style.printable("日本") == "□□"
    assert style.printable("a\nb\t c\x00") == "a b c"
    assert style.printable("\ud800") == "□"
    assert style.printable("e\u200db\ufe0f") == "eb"  # joiners and variation selectors have no shape


def test_shorten_fits_and_says_that_it_cut() -> None:
    long = "a rather long class name " * 5
    short = style.shorten(long, 60, 7)
    assert short.endswith("…")
    assert style.text_width(short, 7) <= 60
    assert style.shorten("cat", 60, 7) == "cat"


def test_wrap_breaks_at_blanks_inside_long_words_and_ends_with_an_ellipsis() -> None:
    assert style.wrap("red green", style.text_width("green ", 7), 7, 3) == ["red", "green"]
    lines = style.wrap("x" * 300, 40, 7, 3)
    assert len(lines) == 3
    assert all(style.text_width(line, 7) <= 40 for line in lines)
    assert lines[-1].endswith("…")
    assert style.wrap("", 40, 7, 3) == []


def test_groups_differ_in_colour_then_in_marker() -> None:
    looks = [style.group_style(rank) for rank in range(100)]
    assert len(set(looks)) == 100
    assert len({color for color, _ in looks[:10]}) == 10
    assert style.NOISE not in style.COLORS


def test_contrast_is_readable_at_both_ends() -> None:
    assert style.contrast((0.0, 0.0, 0.0, 1.0)) == "white"
    assert style.contrast((1.0, 1.0, 0.8, 1.0)) == "black"


def test_style_does_not_leak() -> None:
    before = dict(matplotlib.rcParams)

    @style.styled
    def draw() -> Figure:
        assert matplotlib.rcParams["text.parse_math"] is False
        return Figure()

    draw()
    assert dict(matplotlib.rcParams) == before
