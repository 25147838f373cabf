from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from pipeline import config
from pipeline.schema import Config, TextKind
from tests.cli.command import HOME

GIVEN = {"folder": ["text.path=/x"], "file": ["text.path=/x"], "table": ["text.path=/x", "text.column=a"]}


def composed(*words: str) -> Config:
    config.register()
    with pytest.MonkeyPatch.context() as patch, initialize_config_dir(str(HOME / "conf"), version_base="1.3"):
        patch.setenv("CLIPSCOPE_HOME", str(HOME))
        return config.read(compose("config", overrides=list(words)))


@pytest.mark.parametrize("choice", ["folder", "file", "table", "captions"])
def test_kinds_have_their_type_by_default_and_when_given(choice: str) -> None:
    words = [f"text={choice}", *GIVEN.get(choice, [])]
    assert composed(*words).text.kinds == [TextKind.lines]
    given = composed(*words, "text.kinds=[bigrams,lines]", 'text.prefix="a photo of "')
    assert (given.text.kinds, given.text.prefix) == ([TextKind.bigrams, TextKind.lines], "a photo of ")


def test_numbers_are_words_too() -> None:
    assert composed("text=words", "text.words=[3,a cat]").text.words == ["3", "a cat"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["text=folder", "text.path=/x", "text.kinds=[]"], "text.kinds = .*name at least one of lines, unigrams"),
        (["text=folder", "text.path=/x", "text.kinds=[lines,lines]"], "names something twice"),
        (["text=words", "text.words=[]"], "text.words = .*name at least one text"),
        (["text=folder", "text.path=/x", "text.min_count=0"], "text.min_count = 0: must be"),
        (["text=table", "text.path=/x"], "text.column: must be given"),
    ],
)
def test_wrong_settings(words: list[str], said: str) -> None:
    with pytest.raises(config.CallError, match=said):
        composed(*words)
