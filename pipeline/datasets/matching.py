"""Which vector belongs to which image, by the names that both sides have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from inference.images import EXTENSIONS
from inference.places import container_of, member_of
from pipeline.errors import RunError

EXAMPLES = 3  # names in a message
_IMAGE_ENDING = re.compile(rf"(?:{'|'.join(map(re.escape, EXTENSIONS))})$", re.IGNORECASE)


@dataclass(frozen=True)
class Match:
    """rows: (n,) int64, the row of each image's vector, -1 for none. rule: by what they were found, in words.
    sure: by whole names, not by their ends."""

    rows: np.ndarray
    rule: str
    sure: bool


class _Ambiguous(Exception):
    """Two vectors could be an image's, or two images a vector's."""

    def __init__(self, images: Sequence[str], rows: Sequence[int]) -> None:
        super().__init__()
        self.images, self.rows = images, rows  # the images' names, the vectors' rows: one and two, two and one, or two

    def words(self, names: Sequence[str]) -> str:
        """Which they are."""
        vectors = [names[row] for row in self.rows[:2]]
        if len(self.images) == 1:
            return f"'{self.images[0]}' could be '{vectors[0]}' or '{vectors[1]}'"
        if len(vectors) == 1:
            return f"'{vectors[0]}' could be '{self.images[0]}' or '{self.images[1]}'"
        return f"'{self.images[0]}' would be '{vectors[0]}', but '{self.images[1]}' would be '{vectors[1]}'"


def match(ids: Sequence[str], paths: Sequence[str], names: Sequence[str]) -> Match:
    """The first rule by which any image has a vector, then for all images:

    1. id = name; 2. path = name; 3. the longest common end of path and name; 4. the same of id and name;
    5. to 7. id = name, then 3 and 4, without an image file's extension.

    Ends are whole folder and file names. Longer ends go first; of the rest, each must be the only possible one on both
    sides, and what stands before the end must be the same for all matches on one side at least, else nothing is
    matched by it: '1.png' of two folders are not confused. `\\` counts as `/` from rule 2 on, and an image inside an
    archive lies in it as in a folder.

    ids, paths: of the n images ('': has none); names: ids or paths of the vectors. Raises RunError where no rule fits,
    or names are not unique.

    >>> match(["a", "b"], ["/x/1.png", "/x/2.png"], ["old/2.png", "old/1.png"]).rows.tolist()
    [1, 0]
    """
    _unique(names)
    doubt = ""
    for rule, ours, theirs, ends in _rules(ids, paths, names):
        try:
            rows = _by_end(ours, theirs) if ends else _whole(ours, theirs)
        except _Ambiguous as error:
            doubt = doubt or f"by {rule}, {error.words(names)}"
            continue
        if (rows >= 0).any():
            return Match(rows, rule, not ends)
    if doubt:
        raise RunError(f"which vector is whose is not clear: {doubt}; give both the same ids")
    raise RunError(f"no name of a vector ({_some(names)}) is the id or path of an image of the data set ({_some(ids)})")


def _rules(
    ids: Sequence[str], paths: Sequence[str], names: Sequence[str]
) -> Iterator[tuple[str, Sequence[str], Sequence[str], bool]]:
    """(rule in words, names of the images, of the vectors, whether by their ends), each made when it is needed."""
    yield "id", ids, names, False
    plain_ids, plain_paths, plain_names = _plain(ids), _plain(paths), _plain(names)
    yield "path", plain_paths, plain_names, False
    yield "the end of the path", plain_paths, plain_names, True
    yield "the end of the id", plain_ids, plain_names, True
    plain_ids, plain_paths, plain_names = map(_without_ending, (plain_ids, plain_paths, plain_names))
    yield "id without the file's extension", plain_ids, plain_names, False
    yield "the end of the path without the extension", plain_paths, plain_names, True
    yield "the end of the id without the extension", plain_ids, plain_names, True


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")


def _unique(names: Sequence[str]) -> None:
    seen: set[str] = set()
    twice = [name for name in names if name and (name in seen or seen.add(name))]  # type: ignore[func-returns-value]
    if twice:
        more = f" and {len(twice) - 1:,} more" if len(twice) > 1 else ""
        raise RunError(f"the name '{twice[0]}'{more} stands at several vectors; names are unique")


def _plain(paths: Iterable[str]) -> list[str]:
    """Paths as names joined by single slashes: no leading one, no '.', no drive letters' backslashes; what is inside an
    archive as if that were a folder."""
    made = []
    for path in paths:
        if (archive := container_of(path)) != path:
            path = f"{archive}/{member_of(path)}"
        path = path.replace("\\", "/") if "\\" in path else path
        if path.startswith(("/", "./")) or "//" in path or "/./" in path:
            path = "/".join(part for part in path.split("/") if part not in ("", "."))
        made.append(path)
    return made


def _without_ending(paths: Iterable[str]) -> list[str]:
    return [_IMAGE_ENDING.sub("", path) for path in paths]


def _whole(ours: Sequence[str], theirs: Sequence[str]) -> np.ndarray:
    """Equal names. Raises _Ambiguous where one that is wanted stands on their side twice."""
    place: dict[str, int] = {}
    twice: dict[str, int] = {}
    for row, name in enumerate(theirs):
        if place.setdefault(name, row) != row:
            twice[name] = row
    place.pop("", None)
    twice.pop("", None)
    for name in ours if twice else ():
        if name in twice:
            raise _Ambiguous([name], [place[name], twice[name]])
    return np.array([place.get(name, -1) for name in ours], np.int64)


def _by_end(ours: Sequence[str], theirs: Sequence[str]) -> np.ndarray:
    """The longest common end of names joined by slashes. Images of one path share a vector. Raises _Ambiguous."""
    lasts = {_last(name) for name in ours} & {_last(name) for name in theirs} - {""}
    wanted = sorted({name for name in ours if _last(name) in lasts})
    others = [row for row, name in enumerate(theirs) if _last(name) in lasts]
    pairs = list(_partners(wanted, theirs, range(len(wanted)), others, 0))
    _one_root(wanted, theirs, pairs)
    place = {wanted[o]: t for o, t in pairs}
    return np.array([place.get(name, -1) for name in ours], np.int64)


def _last(path: str) -> str:
    return path[path.rfind("/") + 1 :]


def _partners(
    ours: Sequence[str], theirs: Sequence[str], rows: Iterable[int], others: Iterable[int], depth: int
) -> Iterator[tuple[int, int]]:
    """(row of ours, row of theirs) with a common end. The rows given have their last `depth` parts in common."""
    groups: dict[str | None, tuple[list[int], list[int]]] = {}
    for row in rows:
        groups.setdefault(_part(ours[row], depth), ([], []))[0].append(row)
    for row in others:
        groups.setdefault(_part(theirs[row], depth), ([], []))[1].append(row)
    left: tuple[list[int], list[int]] = ([], [])  # those whose common end is no longer than these `depth` parts
    for part, (some, several) in groups.items():
        if not some or not several:
            left[0].extend(some)
            left[1].extend(several)
        elif len(some) == len(several) == 1:
            yield some[0], several[0]
        elif part is None:
            raise _Ambiguous([ours[some[0]]], several)
        else:
            yield from _partners(ours, theirs, some, several, depth + 1)
    if depth and left[0] and left[1]:
        if len(left[0]) > 1 or len(left[1]) > 1:
            images = [ours[row] for row in left[0]]
            raise _Ambiguous(images[:1], left[1]) if len(left[1]) > 1 else _Ambiguous(images, left[1])
        yield left[0][0], left[1][0]


def _part(path: str, depth: int) -> str | None:
    """The part of a path that stands `depth` from its end, None where it has no more."""
    parts = path.rsplit("/", depth + 1)
    return parts[-depth - 1] if len(parts) > depth else None


def _one_root(ours: Sequence[str], theirs: Sequence[str], pairs: Sequence[tuple[int, int]]) -> None:
    """Raises _Ambiguous where what stands before the common ends differs on both sides: file names that happen to be
    equal, and no folder that was moved."""
    heads = [_heads(ours[o], theirs[t]) for o, t in pairs]
    if len({head for head, _ in heads}) > 1 and len({head for _, head in heads}) > 1:
        other = next(i for i, head in enumerate(heads) if head[0] != heads[0][0])
        raise _Ambiguous([ours[pairs[0][0]], ours[pairs[other][0]]], [pairs[0][1], pairs[other][1]])


def _heads(ours: str, theirs: str) -> tuple[str, str]:
    """What stands before the common end of each.

    >>> _heads("x/cats/1.png", "old/y/cats/1.png")
    ('x', 'old/y')
    """
    a, b = ours.split("/"), theirs.split("/")
    while a and b and a[-1] == b[-1]:
        a.pop()
        b.pop()
    return "/".join(a), "/".join(b)
