"""How numbers, names and nested values are written in reports."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

NONE = "–"  # what stands where there is no value


def is_missing(value: object) -> bool:
    """True for None, NaN and pandas' own missing values."""
    return value is None or type(value).__name__ in {"NAType", "NaTType"} or bool(value != value)


def number(value: Any, digits: int = 3) -> str:
    """A number as a reader wants it: whole numbers and large ones with thousands marks, others with `digits`.

    >>> number(1797), number(0.37952), number(10405.49), number(0.00004), number(float("nan"))
    ('1,797', '0.380', '10,405', '4.0e-05', '–')
    """
    if is_missing(value):
        return NONE
    value = float(value)
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 0.5 * 10.0**-digits:
        return f"{value:.1e}"
    return f"{value:.{digits}f}"


def score(value: Any) -> str:
    """A score: three decimals even where the value is whole, so that columns line up; fewer for large ones.

    >>> score(1.0), score(160.23), score(10405.49)
    ('1.000', '160.2', '10,405')
    """
    if is_missing(value) or math.isinf(float(value)):
        return number(value)
    size = abs(float(value))
    decimals = 3 if size < 100 else 1 if size < 1000 else 0
    return f"{float(value):,.{decimals}f}"


def duration(seconds: Any) -> str:
    """Seconds in words.

    >>> duration(0.42), duration(75.0), duration(7260), duration(None)
    ('0.4 s', '1 min 15 s', '2 h 1 min', '–')
    """
    if is_missing(seconds):
        return NONE
    seconds = float(seconds)
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(text: Any) -> str:
    """A time in ISO 8601, to the minute; anything else as it is.

    >>> moment("2026-11-21T02:46:44.431+00:00"), moment("2026-11-21T02:46:44Z"), moment("yesterday")
    ('2026-11-21 02:46 UTC', '2026-11-21 02:46 UTC', 'yesterday')
    """
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if time.tzinfo else str(text)


def counted(count: Any, one: str, many: str | None = None) -> str:
    """A count with its noun.

    >>> counted(1, "image"), counted(1797, "image"), counted(2, "class", "classes")
    ('1 image', '1,797 images', '2 classes')
    """
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def look_up(record: Mapping[str, Any], dotted: str, default: Any = None) -> Any:
    """The value under 'a.b.c', or `default` where a part is missing or None (a failed run's record has gaps).

    >>> look_up({"images": {"read": 3}}, "images.read"), look_up({}, "images.read", 0)
    (3, 0)
    """
    value: Any = record
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or value.get(part) is None:
            return default
        value = value[part]
    return value


def subject(record: Mapping[str, Any], default: str = NONE) -> str:
    """What a run is about: its data set, or its texts where no image was looked at.

    >>> subject({"dataset": {"name": "digits"}})
    'digits'
    >>> subject({"images": {"listed": 0}, "config": {"text": {"name": "folder"}}})
    'texts: folder'
    """
    if about_texts(record):
        return f"texts: {look_up(record, 'config.text.name')}"
    return str(look_up(record, "dataset.name", look_up(record, "config.dataset.name", default)))


def about_texts(record: Mapping[str, Any]) -> bool:
    """Whether a run looked at texts and at no image."""
    return look_up(record, "images.listed") == 0 and look_up(record, "config.text.name", "none") != "none"


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as ('clustering.k', 8) pairs, in order.

    >>> list(flatten({"clustering": {"k": 8}, "seed": 0}))
    [('clustering.k', 8), ('seed', 0)]
    """
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def plain(value: Any) -> str:
    """A setting as it is written on the command line.

    >>> plain(None), plain(True), plain(["png", "svg"]), plain(0.1)
    ('null', 'true', '[png,svg]', '0.1')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(plain(item) for item in value) + "]"
    return str(value)
