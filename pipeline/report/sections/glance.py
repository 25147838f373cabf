"""At a glance: the answer, the run in five facts, the scores, the warnings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.metrics.catalog import METRICS
from pipeline.report import naming, zero_shot
from pipeline.report.methods import stages_done
from pipeline.report.parts import SPACES, RunFolder, Section, Table, direction, share, span
from pipeline.report.privacy import Privacy
from pipeline.report.recorded import choice
from pipeline.report.trust import QUESTION, answer
from pipeline.report.words import NONE, about_texts, counted, look_up, number, score, subject

MOST_NAMES = 12  # in a line
_SAME_ROW = {("projection", "silhouette"): "silhouette_euclidean"}


def section(run: RunFolder, privacy: Privacy) -> Section | None:
    """Always there."""
    return Section("glance", "At a glance", content(run, privacy))


def content(run: RunFolder, privacy: Privacy) -> dict[str, Any]:
    """What the template is given."""
    return {
        "answer": answer(run),
        "question": QUESTION,
        "words": _words(run, privacy),
        "cards": _cards(run),
        "scores": headline(run.metrics),
        "faithfulness": _faithfulness(run),
        "umap": choice(run.record, "projection") == "umap",
        "warnings": _warnings(run.record, privacy),
    }


def _words(run: RunFolder, privacy: Privacy) -> list[tuple[str, str, str]]:
    """What words say of the images, a line each: (what, in words, anchor of the section)."""
    lines = [("Zero-shot", zero_shot.answer(run), "zero_shot")]
    kind = "cluster" if naming.answer(run, "cluster") else "class"
    if said := naming.answer(run, kind):
        first = naming.firsts(run, kind).head(MOST_NAMES)
        names = [
            f"“{privacy.entry(name)}” ({group})" for group, name in zip(first["group"], first["text"], strict=True)
        ]
        lines.append(("Names", f"{', '.join(names)}. {said}", "names"))
    return [line for line in lines if line[1]]


def _order(name: str) -> tuple[int, str]:
    names = list(METRICS)
    name = "silhouette" if name == "silhouette_euclidean" else name  # both spaces have it: it stands first
    return (names.index(name) if name in METRICS else len(names), name)


def headline(metrics: Mapping[str, float]) -> Table | None:
    """Scores (rows) by space (columns), from the keys 'cluster_metrics/<space>/<name>'."""
    cells: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        stage, _, rest = key.partition("/")
        space, _, name = rest.partition("/")
        if stage == "cluster_metrics" and space in SPACES and name:
            cells.setdefault(_SAME_ROW.get((space, name), name), {})[space] = value
    if not cells:
        return None
    spaces = [space for space in SPACES if any(space in row for row in cells.values())]
    rows = []
    for name in sorted(cells, key=_order):
        info = METRICS.get(name)
        values = [score(cells[name].get(space)) for space in spaces]
        words = [span(info.low, info.high), direction(info.better)] if info else [NONE, NONE]
        rows.append([info.label if info else name.replace("_", " "), *values, *words])
    heads = ["score", *[SPACES[space] for space in spaces], "range", "better"]
    return Table(heads, rows, frozenset(range(1, 1 + len(spaces))))


def _faithfulness(run: RunFolder) -> Table | None:
    names = [name for name in METRICS if f"projection/quality/{name}" in run.metrics]
    if not names:
        return None
    rows = []
    for name in names:
        info = METRICS[name]
        value = score(run.metrics[f"projection/quality/{name}"])
        rows.append([info.label, value, span(info.low, info.high), direction(info.better), info.meaning])
    note = ""
    if run.has("projection_quality"):
        details = dict(run.table("projection_quality")[["name", "value"]].itertuples(index=False, name=None))
        if "neighbours" in details and "anchors" in details:
            neighbours, anchors = number(details["neighbours"]), counted(details["anchors"], "image")
            note = f"Measured with {neighbours} neighbours on {anchors}."
    return Table(["score", "value", "range", "better", "meaning"], rows, frozenset({1}), note)


def _cards(run: RunFolder) -> list[tuple[str, str, str]]:
    """The run in five facts: (what, value, more)."""
    record = run.record
    images, encoder = record.get("images") or {}, record.get("encoder") or {}
    cards = [("Texts" if about_texts(record) else "Data set", subject(record).removeprefix("texts: "), "")]
    if images.get("labelled") and images.get("classes") is not None:
        cards[0] = (*cards[0][:2], counted(images["classes"], "class", "classes"))
    cards.append(_size(run))
    trained = record.get("training")
    if trained:
        cards.append(("Trained from", str(look_up(trained, "base.model") or "random weights"), trained["base"]["kind"]))
    elif encoder:
        more = f"encoder={encoder.get('name')}"
        more += f", {number(encoder['dimension'])} numbers" if encoder.get("dimension") else ""
        cards.append(("Encoder", str(encoder.get("model") or encoder.get("name")), more))
    done = stages_done(record)
    if "projection" in done:
        name = choice(record, "projection")
        count = look_up(record, "config.projection.n_components")
        names = {"umap": "UMAP", "tsne": "t-SNE", "pca": "PCA", "none": "none"}
        count = 2 if name == "tsne" else count
        more = counted(count, "dimension") if count else "clusters are found in the embedding"
        cards.append(("Projection", names.get(name, name), more))
    if "clustering" in done:
        names = {"kmeans": "k-means", "spherical_kmeans": "spherical k-means", "gmm": "mixture of Gaussians"}
        names |= {"minibatch_kmeans": "mini-batch k-means", "agglomerative": "agglomerative", "hdbscan": "HDBSCAN"}
        name = choice(record, "clustering")
        noise = run.metrics.get("clustering/noise_share", 0)
        more = f"k = {number(run.metrics.get('clustering/k'))}" + (f", {share(noise)} noise" if noise else "")
        if look_up(record, "config.clustering.space") == "embedding":
            more += ", of the embeddings"
        cards.append(("Clustering", names.get(name, name), more))
    return cards


def _size(run: RunFolder) -> tuple[str, str, str]:
    """How many images, or texts where there are none."""
    if about_texts(run.record):
        left_out = run.metrics.get("texts/skipped", 0)
        more = f"{counted(left_out, 'file')} skipped" if left_out else ""
        return ("Entries", number(run.metrics.get("texts/entries")), more)
    images = run.record.get("images") or {}
    skipped = images.get("skipped")
    more = "none skipped" if skipped == 0 else f"{number(skipped)} skipped"
    return ("Images", number(images.get("read", images.get("listed"))), more)


def _warnings(record: Mapping[str, Any], privacy: Privacy) -> list[str]:
    """The run's warnings and its stages', each once."""
    texts = list(record.get("warnings") or [])
    for stage in record.get("stages") or []:
        texts += [warning for warning in stage.get("warnings") or [] if warning not in texts]
    return [privacy.text(warning) for warning in dict.fromkeys(map(str, texts))]
