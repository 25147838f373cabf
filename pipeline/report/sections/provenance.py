"""What every number of the run goes back to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report.parts import RunFolder, Section, Table, filled, text
from pipeline.report.privacy import Privacy
from pipeline.report.words import counted, duration, flatten, look_up, moment, number, plain

_ELSEWHERE = ("experiment.published", "experiment.compared")  # in a section of their own


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Command, code, versions, machine, stages, settings."""
    known = [item for item in flatten(run.record.get("config") or {}) if item[0] not in _ELSEWHERE]
    settings = [(key, privacy.setting(key, value)) for key, value in known]
    facts, stages = _facts(run.record, privacy), _stage_times(run.record, privacy)
    return filled("provenance", "Provenance", facts=facts, stages=stages, settings=settings)


def _stage_times(record: Mapping[str, Any], privacy: Privacy) -> Table | None:
    rows = [
        [
            text(stage.get("name")),
            text(stage.get("status")),
            text(stage.get("cache")),
            duration(stage.get("seconds")),
            duration(stage.get("computed_seconds")),
            number(stage.get("peak_memory_mb"), 0),
            text(str(stage.get("key") or "")[:12]),
            privacy.text(stage.get("reason") or ""),
        ]
        for stage in record.get("stages") or []
    ]
    heads = ["stage", "status", "cache", "time", "when computed", "peak memory, MB", "key", "reason"]
    if not any(row[-1] for row in rows):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    return Table(heads, rows, frozenset({3, 4, 5})) if rows else None


def _facts(record: Mapping[str, Any], privacy: Privacy) -> list[tuple[str, str]]:
    """Provenance, as (what, value); what is not known is left out."""
    commit = look_up(record, "git.commit")
    dirty = " (with changes that are not committed)" if look_up(record, "git.dirty") else ""
    machine = record.get("machine") or {}
    encoder = record.get("encoder") or {}
    parts = [
        machine.get("platform"),
        machine.get("cpu"),
        counted(machine["cores"], "core") if machine.get("cores") else None,
        f"{number(machine['memory_gb'], 1)} GB memory" if machine.get("memory_gb") else None,
    ]
    seeds = ", ".join(f"{key} = {value}" for key, value in (record.get("seeds") or {}).items())
    versions = ", ".join(f"{key} {value}" for key, value in (record.get("versions") or {}).items())
    overrides = " ".join(privacy.override(item) for item in look_up(record, "sweep.overrides", []))
    facts = [
        ("command", privacy.command(str(record.get("command") or ""))),
        (
            "part of a sweep",
            f"job {look_up(record, 'sweep.job')}: {overrides}" if record.get("sweep") else "",
        ),
        ("started (UTC)", str(record.get("started") or "")),
        ("pictures drawn again", _redrawn(record)),
        ("took", duration(record["seconds"]) if record.get("seconds") is not None else ""),
        ("code", f"commit {commit}{dirty}" if commit else ""),
        ("data fingerprint", str(look_up(record, "dataset.fingerprint", ""))),
        ("encoder fingerprint", str(encoder.get("fingerprint") or "")),
        ("weights", _weights(encoder)),
        ("precision", _precision(encoder)),
        ("text vectors", _text_vectors(encoder, privacy)),
        ("taken from", _taken(record, privacy)),
        ("seeds", seeds),
        ("machine", privacy.text(", ".join(str(part) for part in parts if part))),
        ("Python", str(machine.get("python") or "")),
        ("versions", versions),
    ]
    return [(name, value) for name, value in facts if value]


def _weights(encoder: Mapping[str, Any]) -> str:
    """Which files, by name and hash; what they were recognised as; the hub's commit."""
    files = [f"{item['file']} (SHA-256 {item['sha256']})" for item in encoder.get("weights") or []]
    parts = [", ".join(files), encoder.get("recognised"), encoder.get("revision") and f"commit {encoder['revision']}"]
    return "; ".join(str(part) for part in parts if part)


def _precision(encoder: Mapping[str, Any]) -> str:
    text = str(encoder.get("precision") or "")
    if encoder.get("device"):
        text += f" on {encoder['device']}"
    if encoder.get("compared"):
        text += f"; smallest cosine to the exact vectors {encoder['fidelity']:.5f}"
        text += f" (centred {encoder['fidelity_centered']:.5f})" if encoder.get("fidelity_centered") is not None else ""
        text += f", of {encoder['compared']} images"
    return text


def _text_vectors(encoder: Mapping[str, Any], privacy: Privacy) -> str:
    """The vectors of texts that were given beside those of images, '' where none were."""
    texts = encoder.get("text_vectors") or {}
    return f"{number(texts['count'])} of {privacy.text(texts['path'])}; {texts['fingerprint']}" if texts else ""


def _taken(record: Mapping[str, Any], privacy: Privacy) -> str:
    """The runs whose results were taken as they are, by the setting that names each."""
    return "; ".join(f"{key} = {privacy.text(run)}" for key, run in look_up(record, "taken.runs", {}).items())


def _redrawn(record: Mapping[str, Any]) -> str:
    """When, and how the pictures look now."""
    plots = look_up(record, "redrawn.plots", {})
    look = ", ".join(f"{name} = {plain(value)}" for name, value in plots.items())
    return f"{moment(look_up(record, 'redrawn.time'))}: {look}" if plots else ""
