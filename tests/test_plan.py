"""Ordering stages, and saying what cannot be done."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import CallError
from pipeline.plan import Plan, order, plan
from pipeline.stage import Facts, Stage
from pipeline.stages import NAMES, known_stages

FACTS = Facts(10, ("a", "b"))


def stage(name: str, needs: str = "", makes: str = "", refuse: str | None = None, **more: Any) -> Stage:
    return Stage(
        name, tuple(needs.split()), tuple(makes.split()), run=lambda: {}, refuse=lambda facts, settings: refuse, **more
    )


def known(*stages: Stage) -> dict[str, Stage]:
    return {made.name: made for made in stages}


CHAIN = known(stage("c", "y", "z"), stage("a", "", "x"), stage("b", "x", "y"), stage("other", "x", "w"))


def names(stages: tuple[Stage, ...]) -> list[str]:
    return [made.name for made in stages]


def planned(wanted: list[str], of: dict[str, Stage], strict: bool = False) -> Plan:
    return plan(wanted, of, FACTS, dict.fromkeys(of), strict)


def test_what_is_needed_comes_first_and_nothing_else_comes() -> None:
    assert names(order(["c"], CHAIN)) == ["a", "b", "c"]
    assert names(order(["other", "c", "other"], CHAIN)) == ["a", "b", "c", "other"]  # as they stand in CHAIN


def test_artifacts_that_are_there_need_no_maker() -> None:
    assert names(order(["c"], CHAIN, given=("y",))) == ["c"]
    lonely = known(stage("a", "gift", "x"))
    assert names(order(["a"], lonely, given=("gift",))) == ["a"]


def test_pictures_may_need_more() -> None:
    drawn = known(stage("a", "", "x", draw_needs=("m",)), stage("map", "", "m"))
    assert names(order(["a"], drawn)) == ["map", "a"]


def test_a_need_that_nothing_makes() -> None:
    with pytest.raises(CallError, match="'a' needs 'x', which no stage makes"):
        order(["a"], known(stage("a", "x", "y")))


def test_two_makers_are_both_named() -> None:
    with pytest.raises(CallError, match="both 'a' and 'b' make 'x'"):
        order(["a"], known(stage("a", "", "x"), stage("b", "", "x")))


@pytest.mark.parametrize(
    ("stages", "circle"),
    [
        ([stage("a", "x", "x")], "a -> a"),
        ([stage("a", "y", "x"), stage("b", "x", "y")], "a -> b -> a"),
        ([stage("a", "", "x", draw_needs=("y",)), stage("b", "x", "y")], "a -> b -> a"),
    ],
)
def test_a_cycle_is_shown(stages: list[Stage], circle: str) -> None:
    with pytest.raises(CallError, match=f"these need each other: {circle}"):
        order(["a"], known(*stages))


def test_an_unknown_name_has_a_nearest_match() -> None:
    with pytest.raises(CallError, match=r"no stage 'clusterng'; did you mean clustering\? Known: listing, encoder"):
        order(["clusterng"], known_stages())


def test_what_is_refused_is_left_out_with_all_that_needs_it() -> None:
    chain = CHAIN | known(stage("b", "x", "y", refuse="too few images"))
    made = planned(["c", "other"], chain)
    assert names(made.stages) == ["a", "other"]
    assert made.left_out == (("b", "too few images"), ("c", "it needs 'b', which was left out"))


def test_a_strict_plan_refuses_with_the_cause() -> None:
    chain = CHAIN | known(stage("b", "x", "y", refuse="too few images"))
    with pytest.raises(CallError, match="stage 'b' cannot be done: too few images"):
        planned(["c", "other"], chain, strict=True)
    assert names(planned(["other"], chain, strict=True).stages) == ["a", "other"]


def test_nothing_that_can_be_done_is_a_wrong_call() -> None:
    chain = CHAIN | known(stage("a", "", "x", refuse="no images"))
    with pytest.raises(CallError) as caught:
        planned(["c"], chain)
    assert caught.value.problems[0] == "stage 'a' cannot be done: no images"


def test_nothing_wanted_is_a_wrong_call_that_says_so() -> None:
    with pytest.raises(CallError, match="no stage"):
        planned([], CHAIN)


def test_some_stages_belong_to_every_run_but_make_none() -> None:
    """They come along with what was asked for, and are no reason to run where nothing of that can be done."""
    chain = CHAIN | known(stage("b", "x", "y", refuse="too few images"))
    facts = Facts(10, ())
    settings: dict[str, object] = dict.fromkeys(chain)
    assert names(plan(["a"], chain, facts, settings, strict=False, always=("other",)).stages) == ["a", "other"]
    with pytest.raises(CallError, match="too few images"):
        plan(["c"], chain, facts, settings, strict=False, always=("other",))


def test_a_setting_that_is_wrong_is_never_left_out() -> None:
    def refuse(facts: Facts, settings: Any) -> str | None:
        raise CallError("k = 99: more than images")

    wrong = known(Stage("a", (), ("x",), run=lambda: {}, refuse=refuse), stage("b", "", "y"))
    with pytest.raises(CallError, match="k = 99"):
        planned(["a", "b"], wrong)


def test_what_may_be_used_comes_first_but_is_not_brought() -> None:
    """A search is faster with an index, and does without."""
    stages = known(stage("search", "x", "hits", uses=("index",)), stage("a", "", "x"), stage("index", "x", "index"))
    assert names(order(["search"], stages)) == ["a", "search"]
    assert names(order(["search", "index"], stages)) == ["a", "index", "search"]
    assert names(order(["search"], stages, given=("index", "x"))) == ["search"]


def test_what_settings_require_is_brought() -> None:
    """Texts that are the captions of images need the images; those of a file do not."""
    texts = stage("texts", "", "t", uses=("x",), requires=lambda source: ("x",) if source == "captions" else ())
    stages = known(texts, stage("a", "", "x"))

    def chosen(source: str) -> dict[str, Any]:
        return {"texts": source, "a": None}

    assert names(order(["texts"], stages, settings=chosen("file"))) == ["texts"]
    assert names(order(["texts"], stages, settings=chosen("captions"))) == ["a", "texts"]
    assert names(order(["texts"], stages)) == ["texts"]
    refused = stages | known(stage("a", "", "x", refuse="no images"))
    with pytest.raises(CallError, match="no images"):
        plan(["texts"], refused, FACTS, chosen("captions"), strict=True)
    assert names(plan(["texts"], refused, FACTS, chosen("file"), strict=True).stages) == ["texts"]
    left = plan(["texts", "b"], refused | known(stage("b", "", "y")), FACTS, chosen("captions") | {"b": None}, False)
    assert left.left_out == (("a", "no images"), ("texts", "it needs 'a', which was left out"))


def test_what_does_not_concern_the_data_is_left_out_without_a_word() -> None:
    """An encoder without a text side is no reason to list every stage of words."""
    stages = known(
        stage("words", "", "t", refuse="sees images only", concerns=lambda facts: facts.text_side), stage("a", "", "x")
    )
    assert planned(["words", "a"], stages).left_out == ()
    spoken = Facts(10, (), text_side=True)
    assert plan(["words", "a"], stages, spoken, dict.fromkeys(stages), False).left_out == (
        ("words", "sees images only"),
    )


def test_the_real_stages_fit_together() -> None:
    stages = known_stages()
    for name in NAMES:
        ordered = names(order([name], stages, given=("found",)))
        assert ordered[-1] == name
    assert names(order(NAMES, stages, given=("found",))) == list(NAMES)
