"""Tar shards as webdataset and img2dataset write them: members of one name but for the ending are one sample.

Only the headers are read here, and the small members that hold labels and captions. Images are read in place later.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from inference.images import EXTENSIONS
from inference.places import inside
from pipeline.datasets.candidates import Found, candidates, text_frame
from pipeline.datasets.patterns import files_of
from pipeline.errors import CallError, one_of
from pipeline.schema import WebdatasetDataset

if TYPE_CHECKING:
    import pandas as pd

FIELDS = {"label": "cls", "caption": "txt", "group": None}  # and the member that holds it unless told otherwise
ROW = ("key", "path", "problem", *FIELDS)
FOLDER = "folder"  # instead of a member: the folder in the names
MB = 2**20
TEXT = MB  # bytes of a member that holds text: more is no label or caption
IMAGES = tuple(ending.removeprefix(".") for ending in EXTENSIONS)
CUT = "truncated: its shard ends before it does"
# webdataset's rule: the name up to the first dot after the last slash, and what follows it, whose case does not count
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)", re.DOTALL)
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


Progress = Callable[[int, int], None]


@dataclass
class _Sample:
    """What stands under one key of one shard. members: ending -> (offset, size, name); cut: the ending of the member
    that the shard ends in the middle of."""

    key: str
    members: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    texts: dict[str, Any] = field(default_factory=dict)
    cut: str | None = None


@dataclass
class _Seen:
    """What was found on the way. samples: how many; endings: of their members; images: of those that are used. Not
    used: kinds of members, how many; damaged: what is wrong with a shard; texts: in words, how many."""

    samples: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)
    texts: Counter[str] = field(default_factory=Counter)


def find(settings: WebdatasetDataset, data: Path, progress: Progress = lambda done, total: None) -> Found:
    """Candidates of all samples that have an image. An id is the sample's key, after the shard's name where a key
    stands in several; `position` counts samples with an image through all shards. progress: is told the MB that were
    gone through, and all. Raises CallError."""
    import pandas as pd

    shards = _shards(settings.shards)
    sources = {name: getattr(settings, name) or usual for name, usual in FIELDS.items()}
    read = {source.partition(".")[0] for source in sources.values() if source} - {FOLDER}
    seen = _Seen()
    ends = list(itertools.accumulate((shard.stat().st_size for shard in shards), initial=0))
    frames = []
    for shard, (start, end) in zip(shards, itertools.pairwise(ends), strict=True):

        def told(at: int, start: int = start) -> None:
            progress(start // MB + at, ends[-1] // MB)

        samples = _scanned(shard, read, seen, told)
        progress(end // MB, ends[-1] // MB)
        frames.append(text_frame(_rows(samples, shard, settings.image, sources, seen), ROW))
    frame = pd.concat(frames, ignore_index=True)
    if frame.empty:
        raise CallError("; ".join([_no_images(shards, settings.image, set(seen.endings)), *seen.damaged[:1]]))
    for name, source in sources.items():
        _must_be_there(name, getattr(settings, name), source, set(seen.endings))
    several = bool(frame["key"].duplicated().any())
    frame["id"] = _with_shard(frames, shards) if several else frame["key"]
    notes = _notes(frame, several, seen)
    facts = {"shards": len(shards), "samples": seen.samples}
    frame = frame.assign(position=range(len(frame)))
    return Found(candidates(frame), _ignored(seen, read), notes, rows=len(frame), facts=facts)


def _shards(given: Any) -> list[Path]:
    """The files, all of them plain tars. Raises CallError."""
    patterns = [given] if isinstance(given, str) else given
    if not isinstance(patterns, list) or not patterns or not all(isinstance(one, str) for one in patterns):
        raise CallError("dataset.shards: give a path or pattern, or a list of such")
    files = list(dict.fromkeys(file for pattern in patterns for file in files_of(pattern, ".tar", "dataset.shards")))
    problems = [problem for file in files if (problem := _refused(file))]
    if problems:
        more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
        raise CallError(f"dataset.shards: {problems[0]}{more}")
    return files


def _refused(file: Path) -> str:
    """Why a shard cannot be used, '' if it can."""
    if "::" in str(file):
        return f"{file}: the path of an archive must not have '::' in it"
    if not file.is_file():
        return f"{file} is not a file"
    try:
        with file.open("rb") as opened:
            start = opened.read(8)
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    for mark, name in _COMPRESSED.items():
        if start.startswith(mark):
            return f"{file.name} is compressed ({name}), images are read in place from plain tars: unpack it to a .tar"
    return ""


def _scanned(shard: Path, read: set[str], seen: _Seen, told: Callable[[int], None]) -> list[_Sample]:
    """The samples of a shard, up to where it is damaged. read: endings of members whose content is wanted."""
    samples: dict[str, _Sample] = {}
    at = -1
    size = os.stat(shard).st_size
    with shard.open("rb") as file:
        for member in _members(shard, seen):
            if member.offset // MB > at:  # not for each: to say it takes longer than to read a header
                told(at := member.offset // MB)
            match = _NAME.fullmatch(member.name)
            kind = _unusable(member, match)
            if kind:
                seen.kinds[kind] += 1
                continue
            key, ending = match[1], match[2].lower()  # type: ignore[index]
            sample = samples.setdefault(key, _Sample(key))
            if ending in sample.members:
                seen.kinds["have the name of another one of their shard"] += 1
                continue
            sample.members[ending] = (member.offset_data, member.size, member.name)
            if member.offset_data + member.size > size:
                sample.cut = ending
            elif ending in read:
                sample.texts[ending] = _content(file, member, seen)
    return list(samples.values())


def _members(shard: Path, seen: _Seen) -> Iterator[tarfile.TarInfo]:
    """The headers of a tar. Where it is damaged the rest is left, and that is said."""
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                yield member
                archive.members = []  # type: ignore[attr-defined]  # it would keep all
            end = archive.offset
        with shard.open("rb") as file:
            file.seek(end)
            block = file.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            seen.damaged.append(f"{shard.name} has no end mark: it may have been cut off")
        elif block.strip(b"\0"):
            seen.damaged.append(f"{shard.name} is damaged at byte {end:,}: what comes after is left out")
    except (tarfile.TarError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        seen.damaged.append(f"{shard.name} is damaged ({reason}): what comes before is used")


def _unusable(member: tarfile.TarInfo, match: re.Match[str] | None) -> str:
    """What kind of member it is that cannot be used, '' if it can."""
    if member.isdir():
        return "are folders"
    if not member.isreg():
        return "are links or devices"
    if member.issparse():
        return "are sparse files"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "have '..' or a leading / in their names"
    return "" if match else "have no ending or are hidden"


def _content(file: IO[bytes], member: tarfile.TarInfo, seen: _Seen) -> Any:
    """The text of a small member, or what its JSON says; None where it cannot be had."""
    if member.size > TEXT:
        seen.texts[f"are larger than {TEXT:,} bytes"] += 1
        return None
    file.seek(member.offset_data)
    try:
        text = file.read(member.size).decode("utf-8-sig")
        return json.loads(text) if member.name.lower().endswith("json") else text.strip()
    except UnicodeDecodeError:
        seen.texts["are not UTF-8"] += 1
    except (ValueError, RecursionError):
        seen.texts["are not JSON"] += 1
    return None


def _image(sample: _Sample, wanted: str | None) -> str | None:
    """The ending of its image."""
    endings = (wanted.lower().removeprefix("."),) if wanted else IMAGES
    return next((ending for ending in endings if ending in sample.members), None)


def _no_images(shards: Sequence[Path], wanted: str | None, found: set[str]) -> str:
    where = f"{shards[0].name}{f' and {len(shards) - 1:,} more shards' if len(shards) > 1 else ''}"
    looked = f"ends in .{wanted}" if wanted else f"ends in {' '.join(f'.{ending}' for ending in IMAGES)}"
    key = f"dataset.image = {wanted}" if wanted else "dataset.image"
    there = f"; there are {', '.join(sorted(found)[:10])}" if found else ""
    return f"{key}: no member of {where} {looked}{there}"


def _must_be_there(name: str, given: str | None, source: str | None, found: set[str]) -> None:
    if given is None or source == FOLDER or str(source).partition(".")[0] in found:
        return
    raise CallError(f"dataset.{name} = {given}: no sample has such a member{one_of(given, sorted({*found, FOLDER}))}")


def _rows(
    samples: Sequence[_Sample], shard: Path, wanted: str | None, sources: dict[str, str | None], seen: _Seen
) -> Iterator[tuple[str | None, ...]]:
    """ROW of each sample that has an image; all are counted."""
    seen.samples += len(samples)
    for sample in samples:
        seen.endings.update(sample.members.keys())
        ending = _image(sample, wanted)
        if ending is None:
            continue
        seen.images[ending] += 1
        offset, size, name = sample.members[ending]
        given = (_value(sample, source, seen) for source in sources.values())
        place = inside("tar", f"{offset}+{size}/{name}", shard)
        yield sample.key, place, CUT if sample.cut == ending else "", *given


def _with_shard(frames: Sequence[pd.DataFrame], shards: Sequence[Path]) -> pd.Series:
    """The keys after the names of their shards."""
    import pandas as pd

    common = os.path.commonpath([shard.parent for shard in shards])
    names = [shard.relative_to(common).with_suffix("").as_posix() for shard in shards]
    whole = [f"{name}/" + frame["key"] for name, frame in zip(names, frames, strict=True)]
    return pd.concat(whole, ignore_index=True)


def _value(sample: _Sample, source: str | None, seen: _Seen) -> str | None:
    """A sample's label, caption or group as text."""
    if source is None:
        return None
    if source == FOLDER:
        return sample.key.rpartition("/")[0] or None
    ending, *fields = source.split(".")
    value = sample.texts.get(ending)
    for name in fields:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, dict | list):
        seen.texts["hold a list or an object"] += 1
        return None
    return None if value is None else str(value) or None


def _notes(frame: pd.DataFrame, several: bool, seen: _Seen) -> tuple[str, ...]:
    notes = list(seen.damaged)
    if cut := int((frame["problem"] == CUT).sum()):
        notes.append(f"{cut} images are cut off with their shard")
    if several:
        notes.append("keys stand in more than one shard: ids are <shard>/<key>")
    if without := seen.samples - len(frame):
        notes.append(f"{without} samples have no image and are left out")
    notes += [f"{count} members of shards {kind} and are left out" for kind, count in seen.kinds.items()]
    notes += [f"{count} texts {kind} and are left out" for kind, count in seen.texts.items()]
    return tuple(notes)


def _ignored(seen: _Seen, read: set[str]) -> dict[str, int]:
    """How many members of which ending are neither images nor read."""
    counts, images = seen.endings, seen.images
    return {f".{e}": n - images[e] for e, n in sorted(counts.items()) if e not in read and n > images[e]}
