"""From templates to a page: what all our HTML has in common."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment() -> Environment:
    """Jinja with escaping on, for every template: class names and captions are other people's text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def encodable(html: str) -> str:
    """`html` without lone surrogates (file names that are no Unicode): the file could not be written."""
    return html.encode("utf-8", "replace").decode("utf-8")
