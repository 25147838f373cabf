"""`.knn` files beside the images: the tags of each, one a line, best first, as clip-grams writes them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from inference.places import container_of, unturned
from pipeline.errors import RunError

ENDING = ".knn"


def sidecar_files(paths: list[str]) -> tuple[dict[str, Path], list[str]]:
    """(path of an image -> its sidecar, notices). `<stem>.knn`; `<name>.knn` for all images of a folder that share a
    stem. Images inside archives and tables have none."""
    files = {path: _beside(path, whole=False) for path in paths if path and container_of(path) == unturned(path)}
    shared: dict[str, Path] = {}
    while clashing := _clashing(files, shared):  # a name kept whole may be the stem of yet another
        shared |= {path: _beside(path, whole=True) for path in clashing}
        files |= shared
    notices = []
    if shared:
        path, file = next(iter(shared.items()))
        notices.append(
            f"sidecars: {len(shared)} images share a stem with another in their folder, as {Path(path).name}: "
            f"their sidecars keep the whole name, as {file.name}"
        )
    if len(files) < len(paths):
        notices.append(f"sidecars: {len(paths) - len(files)} images lie in archives or tables and get none")
    return files, notices


def _clashing(files: Mapping[str, Path], settled: Mapping[str, Path]) -> list[str]:
    counts = Counter(files.values())
    return [path for path, file in files.items() if counts[file] > 1 and path not in settled]


def _beside(path: str, whole: bool) -> Path:
    """whole: with the ending of the image's name."""
    image = Path(unturned(path))
    return image.with_name((image.name if whole else image.stem) + ENDING)


def write_sidecars(tags: Mapping[str, list[str]], overwrite: bool) -> list[str]:
    """Write the tags (path of an image -> texts) and return what to tell. What is there and differs stays, unless
    `overwrite`. Raises RunError where a file cannot be written."""
    files, notices = sidecar_files(list(tags))
    written, kept = 0, []
    for path, file in files.items():
        content = "".join(f"{' '.join(text.splitlines())}\n" for text in tags[path]).encode("utf-8", "replace")
        there = _content(file)
        if there == content:
            continue
        if there is not None and not overwrite:
            kept.append(file)
            continue
        _write(file, content)
        written += 1
    if kept:
        notices.append(
            f"sidecars: {len(kept)} that were there stay as they are, as {kept[0].name}; tagging.overwrite=true "
            f"writes over them"
        )
    return notices


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"tagging.sidecars: {file}: {error.strerror}") from error


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        scratch.write_bytes(content)
        os.replace(scratch, file)
    except OSError as error:
        raise RunError(f"tagging.sidecars: {file}: {error.strerror}") from error
    finally:
        scratch.unlink(missing_ok=True)
