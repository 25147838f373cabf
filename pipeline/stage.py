"""What a stage is: declared inputs and outputs around one function. The stages themselves: pipeline/stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Facts:
    """What is known of a data set before an image is read."""

    images: int
    classes: tuple[str, ...]  # sorted; empty: no labels
    captioned: bool = False
    several_labels: bool = False  # an image may have several: there is a table of them
    encoder: str = ""  # its name
    text_side: bool = False  # it sees texts too
    no_vector: Callable[[Sequence[str]], str | None] = lambda texts: (
        None
    )  # why one of these has none, where all are given
    no_caption: str | None = None  # the same of the captions
    no_probability: str | None = None  # why cosines cannot become probabilities


@dataclass
class Workspace:
    """What the runner lends a stage.

    folder: the stage's own, kept after a failure or a kill so that sharded work resumes; progress: to be told how
    far it is (done, in all); content_hashes: BLAKE3 of images and files, remembered between runs; each_content_hash:
    the same of more than should be in memory at once; sha256: of files;
    workers, timeout, batch_size: the `embedding` section of the config, which never changes a result; command: the
    call, as it can be typed again.
    """

    folder: Path
    progress: Callable[[int, int], None] = lambda done, total: None
    content_hashes: Callable[[Sequence[str]], list[str]] = lambda paths: ["" for _ in paths]
    each_content_hash: Callable[[Sequence[str]], Iterable[str]] = lambda paths: ("" for _ in paths)
    sha256: Callable[[Sequence[str]], list[str]] = lambda paths: ["" for _ in paths]
    workers: int | None = None
    timeout: float = 60.0
    batch_size: int | None = None
    command: str = ""


@dataclass(frozen=True)
class Drawing:
    """What the runner lends a stage that draws.

    thumbnail: path of an image -> (h, w, 3) uint8, None if it can no longer be read; captions: False when they
    must not be shown; seed: for a random choice of what to show; formats and dpi are the runner's business.
    """

    thumbnail: Callable[[str], Any]
    captions: bool
    seed: int

    def title(self, image: Mapping[str, Any]) -> str:
        """Label and caption of a row of `images`, as far as they are known and may be shown."""
        parts = [image["label"], image["caption"] if self.captions else None]
        return "\n".join(str(part) for part in parts if isinstance(part, str) and part)


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    needs, makes: names of artifacts (pipeline/run_dir.py says how each is stored).
    run(settings, workspace, **needs) -> dict of makes; None for what was not asked for.
    settings: the config sections that it reads, attributes of the `settings` it is given. Only these, `version`,
        the versions of `packages` and the keys of its needs enter its cache key.
    uses: artifacts that it takes where something makes them anyway; None where nothing does.
    requires(settings): of `uses`, those that it cannot do without as it is set.
    draw(settings, made, needs, drawing) -> {name: Figure}: pictures of numbers that are there. draw_needs: artifacts
        that only the pictures need.
    metrics(made) -> {key below the stage's name: number}, for metrics.json.
    keyed(settings): what of its settings changes its result, where that is less than all of them: this alone enters
        its key, so that runs which differ elsewhere share the result.
    check(made, config) -> lines to warn with; raises RunError when what was made must not be used; what was made is
        kept.
    refuse(facts, settings): why it cannot be done with this data, None if it can. Raises CallError for a setting
        that is wrong with this data.
    concerns(facts): False for data of a kind that it is not made for: then, where it was not named, nothing is said of
        its being left out.
    first_look(settings): raises CallError for what is wrong with files and machine, before a run folder is made.
    fingerprints(made) -> {artifact: fingerprint}: given by stages that look at the world (files, weights). They run
        every time, and the keys of others follow from what they found.
    settled(made): False where something failed that may pass (a timeout): shown, but not kept for later runs.
    deliver(settings, values) -> lines to tell: what the user asked to have written elsewhere than in the run folder,
        done every time, whether the result was cached or not. Raises RunError.
    unseeded(settings): True where a random choice has no seed; nothing that follows from it is cached.
    reads: it reads images itself and says which it could not, so that `images` does not come along for its sake.
    unsaved: makes that live in memory only.
    """

    name: str
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    run: Callable[..., dict[str, Any]]
    uses: tuple[str, ...] = ()
    requires: Callable[[Any], tuple[str, ...]] = lambda settings: ()
    settings: tuple[str, ...] = ()
    version: int = 1
    packages: tuple[str, ...] = ()
    draw: Callable[..., dict[str, Any]] | None = None
    draw_needs: tuple[str, ...] = ()
    metrics: Callable[[Mapping[str, Any]], dict[str, float]] | None = None
    check: Callable[[Mapping[str, Any], Any], list[str]] | None = None
    refuse: Callable[[Facts, Any], str | None] | None = None
    concerns: Callable[[Facts], bool] = lambda facts: True
    first_look: Callable[[Any], None] | None = None
    fingerprints: Callable[[Mapping[str, Any]], dict[str, str]] | None = None
    settled: Callable[[Mapping[str, Any]], bool] = lambda made: True
    deliver: Callable[[Any, Mapping[str, Any]], list[str]] | None = None
    unseeded: Callable[[Any], bool] = lambda settings: False
    keyed: Callable[[Any], Any] | None = None
    reads: bool = False
    unsaved: tuple[str, ...] = ()


def by_choice(reason: str) -> bool:
    """Whether a stage was left out because a group is set to none, not for what data or encoder lack: nobody has to be
    told.

    >>> by_choice("significance=none"), by_choice("the data set has no captions")
    (True, False)
    """
    return reason.endswith("=none")


def key_part(name: str) -> str:
    """A class name as part of a key of metrics.json, where '/' and '|' separate.

    >>> key_part("a/b|c")
    'a%2Fb%7Cc'
    """
    return name.replace("%", "%25").replace("/", "%2F").replace("|", "%7C")
