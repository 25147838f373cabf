"""What must not leave the house: `report.hide` takes paths, captions, ids and images out of a report."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from inference.places import container_of, member_of
from pipeline.report.words import is_missing, look_up, plain

HIDDEN = "(hidden)"
_SECRET_KEYS = (
    "dataset.root", "dataset.path", "dataset.pairs", "dataset.group", "dataset.files", "dataset.list", "dataset.shards",
    "dataset.table", "dataset.labels", "dataset.classes_table", "dataset.image_ids", "dataset.facts.label_tables",
    "encoder.path", "encoder.text_path", "encoder.text_names", "paths.",
    "text.path", "tagging.index", "zero_shot.names", "search.images", "from_run",
)  # fmt: skip
# Where a path begins: at the start, after a blank or after a character that opens or assigns.
_OPENS = r"(?:(?<=[\s'\"=,(\[{<|])|^)"
_PATHS = re.compile(
    _OPENS + r"(?:~|\.{1,2}|[A-Za-z]:)?(?:[\\/]+[^\s'\",;)\]}<>|]+)+"  # /a/b, ~/a, ../a, C:\a, \\server\a
    r"|[^\s'\"=,(\[{<|]+[\\/][^\s'\",;)\]}<>|]*\.\w{2,5}\b"  # a/b.png
    r"|[^\s'\"=,(\[{<|]+\.(?i:jpe?g|png|gif|bmp|tiff?|webp|dcm|heic|avif|txt)\b"  # b.png
)


def hidden_parts(record: Mapping[str, Any]) -> frozenset[str]:
    """What this run's config hides: any of 'path', 'caption', 'id', 'images'."""
    return frozenset(map(str, look_up(record, "config.report.hide", [])))


class Privacy:
    """Cleans everything on its way into a report.

    Args:
        hide: any of 'path', 'caption', 'id', 'images'.
        secrets: texts that must not appear (paths, file names, ids); they are found also where they
            hold blanks. Paths and names of image files are also recognised by their form.
        made_of: parts of a run ('texts', 'categories', 'queries') that are captions ('caption') or names of files
            ('path'), and so are hidden with these.
    """

    def __init__(self, hide: Iterable[str], secrets: Iterable[str] = (), made_of: Mapping[str, str] | None = None):
        self.hide = frozenset(hide)
        self.made_of = dict(made_of or {})
        self._secrets = sorted({text for text in secrets if len(text) >= 3}, key=len, reverse=True)

    def text(self, value: object) -> str:
        """`value` as text, without paths (and other secrets) where they are hidden."""
        text = str(value)
        for secret in self._secrets:
            if secret in text:
                text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)
        return _PATHS.sub(HIDDEN, text) if "path" in self.hide else text

    def command(self, command: str) -> str:
        """A command line whose arguments that hold paths end in '(hidden)'."""
        if "path" not in self.hide:
            return self.text(command)
        try:
            words = shlex.split(command)
        except ValueError:  # quotes that do not close: better nothing than a path
            return HIDDEN
        return " ".join(self.override(word) for word in words)

    def override(self, override: object) -> str:
        """One 'key=value' of a command line, the value hidden where it is or holds a path."""
        text = str(override)
        key, sign, value = text.partition("=")
        if "path" not in self.hide or not (_is_secret(key.lstrip("+~")) or _has_slash(text)):
            return self.text(text)
        return f"{key}={HIDDEN}" if sign and value and not _has_slash(key) else HIDDEN

    def run_name(self, name: str) -> str:
        """A run's name, which may be the names of folders where it was copied away."""
        dated = re.fullmatch(r"[\d/_-]+", name) is not None
        return name if dated or "path" not in self.hide else HIDDEN

    def setting(self, key: str, value: Any) -> str:
        """A config value as text, hidden where its key holds paths."""
        hide = "path" in self.hide and _is_secret(key) and value not in (None, [], "")
        return HIDDEN if hide else self.text(plain(value))

    def table(self, table: pd.DataFrame) -> pd.DataFrame:
        """`table` without the hidden columns; texts of what remains are cleaned."""
        kept = table[[column for column in table.columns if column not in self.hide]].copy()
        if self.hide - {"images"}:
            for column in kept.columns.intersection(["reason", "detail"]):
                kept[column] = ["" if is_missing(value) else self.text(value) for value in kept[column]]
        return kept

    def hides(self, part: str) -> bool:
        """Whether a part ('texts', 'categories', 'queries') is made of what is hidden."""
        return self.made_of.get(part) in self.hide

    def entry(self, value: object) -> str:
        """A text that images are compared with (a tag, a name)."""
        return HIDDEN if self.hides("texts") else str(value)

    def pictures(self, pictures: Sequence[tuple[str, str, Path]]) -> list[tuple[str, str, Path]]:
        """The pictures that may be shown: none that is made of the images themselves, if they are hidden, and none with
        captions, ids or names of files in it, if these are."""
        return [picture for picture in pictures if not self._is_hidden(*picture[:2])]

    def _is_hidden(self, stage: str, name: str) -> bool:
        if "images" in self.hide and made_of_images(name):
            return True
        if name.startswith("categories_"):
            return self.hides("categories")
        if name.startswith("query_"):
            return self.hides("queries")
        if stage == "zero_shot" and name in _OF_IMAGES:  # their titles are ids
            return "id" in self.hide
        return stage in ("tagging", "naming") and self.hides("texts")


_OF_IMAGES = frozenset({"answers", "errors", "tags"})


def made_of_images(name: str) -> bool:
    """Whether a picture of this name shows the data set's images."""
    return "sheet" in name or name.startswith(("cluster_", "query_")) or name in _OF_IMAGES


def _is_secret(key: str) -> bool:
    return key.startswith(_SECRET_KEYS)


def _has_slash(text: str) -> bool:
    return "/" in text or "\\" in text


def _paths_of(record: Mapping[str, Any]) -> list[str]:
    settings = look_up(record, "config.dataset", {})
    pairs = [str(item) for item in settings.get("pairs") or []]
    paths = look_up(record, "config.paths", {})
    ours = [str(path) for path in paths.values() if _has_slash(str(path))]  # 'data' alone is only a word
    vectors = [str(look_up(record, f"config.encoder.{key}") or "") for key in ("path", "text_path", "text_names")]
    given = [str(settings.get(key) or "") for key in ("root", "path", "list")]
    given += [str(look_up(record, f"config.{key}") or "") for key in _OF_TEXTS]
    given += [str(path) for path in look_up(record, "taken.runs", {}).values()]
    several = [*(settings.get(key) or [] for key in ("files", "shards")), _query_images(record)]
    listed = [str(item) for items in several for item in (items if isinstance(items, list) else [items])]
    return [*given, *listed, *filter(_has_slash, vectors), *pairs[1::2], *ours]


_OF_TEXTS = ("text.path", "tagging.index", "zero_shot.names", "from_run")  # settings that are paths


def _query_images(record: Mapping[str, Any]) -> list[str]:
    """The images that were searched with, and their names."""
    paths = [str(path) for path in look_up(record, "config.search.images", [])]
    return [*paths, *(PurePath(path).name for path in paths)]


def _made_of(run: Any) -> dict[str, str]:
    """What texts, their categories and queries are, where it is captions or names of files."""
    source, index = (look_up(run.record, f"config.{key}") for key in ("text.source", "tagging.index"))
    captions = source == "captions"
    if index is not None:  # the texts are another run's, and lines stand first
        captions = not run.has("texts") or str(run.table("texts")["kind"][0]) == "caption"
    made_of = {"texts": "caption"} if captions else {}
    if index is not None or source in ("folder", "file"):
        made_of["categories"] = "path"
    if look_up(run.record, "config.search.combine") and look_up(run.record, "config.search.images"):
        made_of["queries"] = "path"  # their pictures are headed by the names of files
    return made_of


def privacy_of_all(runs: Sequence[Any], hide: Iterable[str] = ()) -> Privacy:
    """What to hide where several runs stand side by side: what any of them wants hidden, and `hide`."""
    hidden = frozenset(hide).union(*(hidden_parts(run.record) for run in runs))
    if "path" not in hidden:
        return Privacy(hidden)
    paths = [path for run in runs for path in (*_paths_of(run.record), str(run.folder))]
    vectors = [look_up(run.record, f"config.encoder.{key}") for run in runs for key in ("path", "text_path")]
    return Privacy(hidden, dict.fromkeys([*paths, *(PurePath(str(path)).name for path in vectors if path)]))


def privacy_of(run: Any) -> Privacy:
    """What to hide in the report of this run, with every path, file name and id that the run knows of."""
    hide = hidden_parts(run.record)
    tables = [run.table("images")] if run.has("images") and hide & {"path", "id"} else []
    secrets: list[str] = []
    if "path" in hide:
        paths = [str(path) for table in [*tables, run.skipped] if "path" in table for path in table["path"]]
        parts = dict.fromkeys(part for path in paths for part in (path, container_of(path), member_of(path)) if part)
        names = dict.fromkeys(PurePath(part).name for part in parts)
        parts |= dict.fromkeys(run.table("texts_skipped")["path"] if run.has("texts_skipped") else [])
        secrets = [
            *_paths_of(run.record),
            str(run.folder),
            *parts,
            *(name for name in names if len(name) > 4),
        ]
    if "id" in hide:  # a short id ('12') is found in every text and tells nobody anything
        named = [table for table in [*tables, run.skipped] if "id" in table]
        secrets += [str(value) for table in named for value in table["id"] if len(str(value)) > 3]
    return Privacy(hide, secrets, _made_of(run))
