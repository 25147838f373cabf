"""What a range cannot say of the settings of texts, indexes, tags and searches."""

from __future__ import annotations

import re

from pipeline.errors import one_of
from pipeline.schema import BYTES, Config, GramSettings, TextKind, TextSettings, WordsText

DEVICES = ("cpu", "cuda")


def word_rules(config: Config) -> list[str]:
    """A line for each problem."""
    problems = []
    if not re.fullmatch(rf"\d+(\.\d+)? ?({'|'.join(BYTES)})", config.index.memory, re.IGNORECASE):
        problems.append(f"index.memory = {config.index.memory}: must be a size, as in 500MB or 4GB")
    if config.index.device not in DEVICES:
        problems.append(f"index.device = {config.index.device}: no such device{one_of(config.index.device, DEVICES)}")
    problems += _text_rules(config.text)
    if "search" in config.stages:
        problems += _search_rules(config)
    if "zero_shot" in config.stages:
        problems += _zero_shot_rules(config)
    return problems


def _text_rules(text: TextSettings) -> list[str]:
    if isinstance(text, GramSettings) and not text.kinds:
        known = ", ".join(kind.value for kind in TextKind)
        return [f"text.kinds = []: name at least one of {known}"]
    if isinstance(text, WordsText) and not text.words:
        return ["text.words = []: name at least one text, as in 'text.words=[a cat,a dog]'"]
    return []


def _search_rules(config: Config) -> list[str]:
    search = config.search
    problems = []
    if not (search.queries or search.images):
        problems.append('search: nothing to look for: give search.queries=["a text"] or search.images=[a.jpg]')
    if search.minus and not search.combine:
        problems.append("search.minus: has no effect without search.combine=true")
    return problems + [
        f"search.{name}: a text is blank"
        for name in ("queries", "minus")
        if any(not text.strip() for text in getattr(search, name))
    ]


def _zero_shot_rules(config: Config) -> list[str]:
    problems = []
    if any(not name.strip() for name in config.zero_shot.classes):
        problems.append("zero_shot.classes: a class name is blank")
    if len(config.zero_shot.classes) == 1:
        problems.append("zero_shot.classes: one class leaves nothing to choose: name two or more")
    if config.zero_shot.none_prompt is not None and not config.zero_shot.none_prompt.strip():
        problems.append("zero_shot.none_prompt: the text is blank; null does without")
    return problems
