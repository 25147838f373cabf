"""Order stages by what they need and make; pull in what is missing; say what cannot be done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import CallError, one_of
from pipeline.stage import Facts, Stage, by_choice


@dataclass(frozen=True)
class Plan:
    """stages: in the order in which they run. left_out: (stage, reason) of what this data does not permit."""

    stages: tuple[Stage, ...]
    left_out: tuple[tuple[str, str], ...] = ()


def producers(stages: Iterable[Stage]) -> dict[str, Stage]:
    """Artifact -> the stage that makes it. Raises CallError where two make the same."""
    made: dict[str, Stage] = {}
    for stage in stages:
        for artifact in stage.makes:
            if artifact in made:
                raise CallError(f"stages: both '{made[artifact].name}' and '{stage.name}' make '{artifact}'")
            made[artifact] = stage
    return made


def order(
    wanted: Sequence[str],
    known: Mapping[str, Stage],
    given: Collection[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> tuple[Stage, ...]:
    """The wanted stages and all that they need, producers first. `given`: artifacts that are there already; settings:
    stage name -> its settings, without which what a stage requires by them does not come along.

    Raises CallError for an unknown name, a need that nothing makes, two makers of one artifact, or a cycle.
    """
    for name in wanted:
        if name not in known:
            raise CallError(f"stages: no stage '{name}'{one_of(name, known)}")
    maker = producers(known.values())
    ordered: list[Stage] = []

    def add(stage: Stage, asked: tuple[str, ...]) -> None:
        if stage in ordered:
            return
        if stage.name in asked:
            raise CallError(f"stages: these need each other: {' -> '.join((*asked, stage.name))}")
        for need in _needed(stage, settings):
            if need in given:
                continue
            if need not in maker:
                raise CallError(f"stages: '{stage.name}' needs '{need}', which no stage makes")
            add(maker[need], (*asked, stage.name))
        ordered.append(stage)

    for name in wanted:
        add(known[name], ())
    return _early_first(ordered, list(known))


def _needed(stage: Stage, settings: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What the stage cannot do without, pictures included."""
    required = stage.requires(settings[stage.name]) if settings else ()
    return (*stage.needs, *stage.draw_needs, *required)


def _early_first(stages: list[Stage], names: list[str]) -> tuple[Stage, ...]:
    """Of the stages that could come next, the one that stands first in `names`: checks come before costly work."""
    waiting = sorted(stages, key=lambda stage: names.index(stage.name))
    done: list[Stage] = []
    while waiting:
        open_needs = {name for stage in waiting for name in stage.makes}
        ready = (s for s in waiting if not open_needs.intersection((*s.needs, *s.draw_needs, *s.uses)))
        done.append(stage := next(ready))
        waiting.remove(stage)
    return tuple(done)


def plan(
    wanted: Sequence[str],
    known: Mapping[str, Stage],
    facts: Facts,
    settings: Mapping[str, Any],
    strict: bool,
    given: Collection[str] = (),
    always: Sequence[str] = (),
) -> Plan:
    """What will be done. settings: stage name -> its settings; always: stages that no run goes without. Where a stage
    refuses: CallError if `strict`, else it and all that needs it are left out."""
    refused: dict[str, str] = {}
    for stage in order(wanted, known, given, settings):
        reason = stage.refuse(facts, settings[stage.name]) if stage.refuse else None
        reason = reason or _needs_refused(stage, known, refused, settings)
        if reason:
            refused[stage.name] = reason
    if strict and refused:
        name, reason = next(iter(refused.items()))
        raise CallError(f"stage '{name}' cannot be done: {reason}")
    possible = [name for name in wanted if name not in refused]
    if not possible:
        causes = [f"stage '{name}' cannot be done: {reason}" for name, reason in refused.items()]
        raise CallError(*causes or ["stages: no stage is named"])
    left_out = tuple((name, reason) for name, reason in refused.items() if known[name].concerns(facts))
    return Plan(order([*possible, *always], known, given, settings), left_out)


def _needs_refused(
    stage: Stage, known: Mapping[str, Stage], refused: Mapping[str, str], settings: Mapping[str, Any]
) -> str | None:
    maker = producers(known.values())
    for need in _needed(stage, settings):
        if need in maker and maker[need].name in refused:
            why = refused[maker[need].name]
            return why if by_choice(why) else f"it needs '{maker[need].name}', which was left out"
    return None
