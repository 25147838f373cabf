"""Where a model of several files is: a given folder, model_checkpoints/, the hub's local cache, the hub; or one message
that says which files are missing and where to put them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from inference.encoders import EncoderError
from inference.hub import SECONDS, commit_of, offline, reachable, why_not

GIVEN = "as given"
CARD = ("*.md", ".git*", "*.png", "*.jpg")  # never needed


@dataclass(frozen=True)
class Wanted:
    """Files of a model.

    needed: groups, of each of which one file has to be there, the preferred first. helpful: groups of which one is
    looked for on the hub, too, but can be done without. small: patterns of what is fetched with them.
    """

    needed: tuple[tuple[str, ...], ...]
    helpful: tuple[tuple[str, ...], ...] = ()
    small: tuple[str, ...] = ("*.json", "*.txt", "*.model")

    def missing(self, folder: Path, helpful: bool = False) -> list[str]:
        """'a or b' of every group of which the folder has no file."""
        groups = self.needed + (self.helpful if helpful else ())
        return [" or ".join(group) for group in groups if not any((folder / name).is_file() for name in group)]


@dataclass(frozen=True)
class Folder:
    """path: absolute; where: in words; revision: the hub's commit, None for a local folder."""

    path: Path
    where: str
    revision: str | None = None

    def first(self, *names: str) -> Path | None:
        """The first of these files that is there."""
        return next((self.path / name for name in names if (self.path / name).is_file()), None)


def find_folder(
    model: str, wanted: Wanted, *, key: str, revision: str | None, checkpoints: Path, otherwise: str = ""
) -> Folder:
    """The folder of `model`, a path or an id of the hub (setting `key`), looked for in this order: that very folder,
    `checkpoints`/<organisation>--<name> (not where a revision is asked for: a copy has none), the hub's local cache,
    the hub. otherwise: what else the user could say. Raises EncoderError."""
    given = Path(model).expanduser()
    if given.is_dir():
        if revision is not None:
            raise EncoderError(f"{model} is a local folder and has no revisions: leave it null", "encoder.revision")
        return _complete(Folder(given.resolve(), GIVEN), wanted, key)
    _refuse_what_is_no_id(model, key)
    local = checkpoints / folder_name(model)
    if revision is None and local.is_dir():
        return _complete(Folder(local.resolve(), checkpoints.name), wanted, key)
    cached = _cached(model, wanted, revision)
    if cached is not None and not wanted.missing(cached.path, helpful=True):
        return cached
    fetched, reason = _fetched(model, wanted, revision)
    found = fetched or cached
    if found is not None and not wanted.missing(found.path):
        return found
    raise EncoderError(_advice(model, wanted, revision, local, cached, reason) + otherwise, key)


def folder_name(model: str) -> str:
    """As a model of the hub is called in model_checkpoints/."""
    return model.replace("/", "--")


def called(model: str, folder: Folder) -> str:
    """The model's name for the record: a local folder's own, without the way to it."""
    return folder.path.name if folder.where == GIVEN else model


def read_json(file: Path, key: str) -> dict[str, Any]:
    """A JSON object. Raises EncoderError."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{file} cannot be read as JSON: {error}", key) from error
    if not isinstance(found, dict):
        raise EncoderError(f"{file} holds no settings by name", key)
    return found


def _complete(folder: Folder, wanted: Wanted, key: str) -> Folder:
    if missing := wanted.missing(folder.path):
        raise EncoderError(f"the folder {folder.path} has no {', no '.join(missing)}", key)
    return folder


def _refuse_what_is_no_id(model: str, key: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if Path(model).is_absolute() or model.startswith((".", "~")) or model.count("/") > 1 or "\\" in model:
        raise EncoderError(f"no such folder: {model}", key)
    try:
        validate_repo_id(model)
    except HFValidationError as error:
        raise EncoderError(f"'{model}' is neither a folder nor an id of the hub (organisation/name)", key) from error


def _cached(model: str, wanted: Wanted, revision: str | None) -> Folder | None:
    from huggingface_hub import try_to_load_from_cache

    for name in wanted.needed[0]:
        path = try_to_load_from_cache(model, name, revision=revision)
        if isinstance(path, str):
            return Folder(Path(path).parent, "the hub's local cache", commit_of(path))
    return None


def _fetched(model: str, wanted: Wanted, revision: str | None) -> tuple[Folder | None, str]:
    """The files from the hub, or why there are none."""
    from huggingface_hub import HfApi, snapshot_download

    if offline():
        return None, "not asked, HF_HUB_OFFLINE is set"
    if not reachable():
        return None, "cannot be reached"
    try:
        info = HfApi().model_info(model, revision=revision, timeout=SECONDS)
        names = [file.rfilename for file in info.siblings or []]
        path = snapshot_download(
            model, revision=revision, allow_patterns=_chosen(names, wanted), etag_timeout=SECONDS, max_workers=2
        )
    except Exception as error:  # requests', httpx' and the hub's own kinds, by version
        return None, why_not(error, revision)
    missing = wanted.missing(Path(path))
    return Folder(Path(path), "the hub", commit_of(path)), f"has no {', no '.join(missing)}" if missing else ""


def _chosen(names: Sequence[str], wanted: Wanted) -> list[str]:
    """Of the hub's files: the preferred one of each group, the parts that an index names, what is small."""
    here = [name for name in names if "/" not in name and not any(fnmatch(name, card) for card in CARD)]
    chosen = [name for name in here if any(fnmatch(name, pattern) for pattern in wanted.small)]
    for group in wanted.needed + wanted.helpful:
        best = next((name for name in group if name in here), None)
        if best is None:
            continue
        chosen.append(best)
        if best.endswith(".index.json"):
            stem, kind = best.removesuffix(".index.json").rsplit(".", 1)
            chosen.append(f"{stem}-*.{kind}")
    return chosen


def _advice(model: str, wanted: Wanted, revision: str | None, local: Path, cached: Folder | None, reason: str) -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    files = [" or ".join(group) for group in wanted.needed + wanted.helpful]
    fetched = [*wanted.small, *(group[0] for group in wanted.needed if not group[0].endswith(".json"))]
    call = f"hf download {model}" + (f" --revision {revision}" if revision else "")
    call += "".join(f" --include '{name}'" for name in fetched) + f" --local-dir {local.name}"
    lacking = f", where {', '.join(wanted.missing(cached.path))} is missing" if cached else ""
    return (
        f"{model} was not found. Looked in {local.parent.name}/{local.name}, in the hub's local cache "
        f"({HF_HUB_CACHE}){lacking}, and on the hub ({reason}). It takes {'; '.join(files)}. On a machine with a "
        f"network: `{call}` (of several files with 'or', the one that the repository has), then put that folder at "
        f"{local}"
    )
