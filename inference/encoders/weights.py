"""Where weights are: a given file, model_checkpoints/, the hub's local cache, the hub; or one message that says what
is missing and where to put it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.encoders import EncoderError
from inference.hub import SECONDS, commit_of, offline, reachable, why_not


@dataclass(frozen=True)
class Hub:
    """A file on the hub: the first of `files` that the repository has."""

    repository: str
    files: tuple[str, ...]
    revision: str | None = None


@dataclass(frozen=True)
class Found:
    """path: the file; where: in words; revision: the hub's commit, None for a local file."""

    path: Path
    where: str
    revision: str | None = None


def find_weights(
    what: str, *, given: str | None, key: str, names: Sequence[str], checkpoints: Path, hub: Hub | None
) -> Found:
    """The weights of `what`, looked for in this order: the `given` file (setting `key`), `checkpoints`/<one of names>,
    the hub's local cache, the hub. Raises EncoderError."""
    if given is not None:
        return Found(check_file(Path(given), key), "as given")
    for name in names:
        if (checkpoints / name).is_file():
            return Found(check_file(checkpoints / name, key), checkpoints.name)
    if hub is None:
        raise EncoderError(f"{what}: no weights; {_advice(key, names, checkpoints)}", key)
    found = _cached(hub)
    reason = ""
    if found is None:
        found, reason = _downloaded(hub)
    if found is not None:
        return found
    raise EncoderError(
        f"{what}: no weights. Looked in {checkpoints.name}/ ({', '.join(names)}), in the hub's local cache and on the "
        f"hub ({hub.repository}: {reason}). {_advice(key, names, checkpoints, hub)}",
        key,
    )


def check_file(path: Path, key: str) -> Path:
    """The path, if it is a file that can hold weights. Raises EncoderError."""
    if not path.is_file():
        raise EncoderError(f"no such file: {path}" if not path.is_dir() else f"{path} is a folder, not a file", key)
    with path.open("rb") as file:
        start = file.read(200)
    if not start:
        raise EncoderError(f"{path.name} is empty: 0 bytes", key)
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise EncoderError(f"{path.name} is a web page, not weights: the download failed or needed a login", key)
    if text.startswith(b"version https://git-lfs"):
        raise EncoderError(f"{path.name} is a Git LFS pointer, not the weights: run `git lfs pull`", key)
    return path


def _cached(hub: Hub) -> Found | None:
    from huggingface_hub import try_to_load_from_cache

    for name in hub.files:
        path = try_to_load_from_cache(hub.repository, name, revision=hub.revision)
        if isinstance(path, str):
            return Found(Path(path), "the hub's local cache", commit_of(path))
    return None


def _downloaded(hub: Hub) -> tuple[Found | None, str]:
    """The file from the hub, or why there is none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if offline():
        return None, "not asked, HF_HUB_OFFLINE is set"
    if not reachable():
        return None, "cannot be reached"
    reason = "has none of these files: " + ", ".join(hub.files)
    for name in hub.files:
        try:
            path = hf_hub_download(hub.repository, name, revision=hub.revision, etag_timeout=SECONDS)
            return Found(Path(path), "the hub", commit_of(path)), ""
        except EntryNotFoundError:
            continue
        except Exception as error:  # requests', httpx' and the hub's own kinds, by version
            return None, why_not(error, hub.revision)
    return None, reason


def _advice(key: str, names: Sequence[str], checkpoints: Path, hub: Hub | None = None) -> str:
    place = f"put the file at {checkpoints / names[0]}" if names else "give the file"
    source = f"Download {hub.files[0]} of {hub.repository} on a machine with a network and " if hub else ""
    return f"{source}{place}, or say {key}=<file>"
