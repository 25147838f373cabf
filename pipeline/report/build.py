"""From a finished (or failed) run to one self-contained HTML page; nothing is computed here."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from pipeline.metrics.catalog import METRICS
from pipeline.metrics.k_selection import LABELS, in_words
from pipeline.report.methods import methods_paragraph, protocol_lines, stages_done
from pipeline.report.privacy import Privacy, privacy_of
from pipeline.report.trust import QUESTION, answer, null_in_words, rows, sampled, supported_k
from pipeline.report.words import NONE, counted, duration, flatten, is_missing, look_up, moment, number, plain, score

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_CLASSES = 60  # rows of the table of classes; the files hold all
MOST_PAIRS = 200
MOST_CLUSTERS = 100
MOST_SKIPPED = 200
MOST_DUPLICATES = 40


class RunFolder(Protocol):
    """What a report needs of a run; `pipeline.run_dir.Run` has it."""

    folder: Path
    record: dict[str, Any]

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> dict[str, float]: ...

    @property
    def tables(self) -> Mapping[str, Path]: ...

    @property
    def pictures(self) -> list[tuple[str, str, Path]]: ...

    @property
    def skipped(self) -> pd.DataFrame: ...

    def has(self, name: str) -> bool: ...

    def table(self, name: str) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Table:
    """A table as the template draws it: texts only. `numeric` columns stand to the right."""

    heads: list[str]
    rows: list[list[str]]
    numeric: frozenset[int] = frozenset()
    note: str = ""
    link: str = ""  # file with the whole table, relative to the run folder


@dataclass(frozen=True)
class Picture:
    """An embedded picture: `source` is a data URI, `file` its path relative to the run folder."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the report. Empty ones are left out."""

    key: str
    title: str
    content: dict[str, Any] = field(default_factory=dict)


@cache
def environment() -> Environment:
    """Jinja with escaping on, for every template: class names and captions are other people's text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def encodable(html: str) -> str:
    """`html` without lone surrogates (file names that are no Unicode): the file could not be written."""
    return html.encode("utf-8", "replace").decode("utf-8")


# --- tables -----------------------------------------------------------------------------------------------


Format = Callable[[Any], str]


def text(value: Any) -> str:
    """Text as it is, a dash where there is none."""
    return NONE if is_missing(value) or value == "" else str(value)


def _table(frame: pd.DataFrame, columns: Sequence[tuple[str, str, Format]], most: int, link: str, what: str) -> Table:
    """The first `most` rows of a frame. `columns`: (name in the frame, heading, how it is written)."""
    columns = [column for column in columns if column[0] in frame]
    shown = frame.head(most)
    rows = [
        [write(value) for value, (_, _, write) in zip(row, columns, strict=True)]
        for row in shown[[name for name, _, _ in columns]].itertuples(index=False, name=None)
    ]
    numeric = frozenset(place for place, (_, _, write) in enumerate(columns) if write is not text)
    note = f"The first {number(most)} of {number(len(frame))} {what}." if len(frame) > most else ""
    return Table([heading for _, heading, _ in columns], rows, numeric, note, link)


def _link(run: RunFolder, name: str) -> str:
    """Where the whole table lies, from the run folder: its CSV where there is one."""
    path = run.tables.get(name)
    if path is None:
        return ""
    path = Path(path)
    table = path.with_suffix(".csv")
    try:
        return (table if table.exists() else path).relative_to(run.folder).as_posix()
    except ValueError:
        return path.name


_CLASS_COLUMNS: list[tuple[str, str, Format]] = [
    ("class", "class", text),
    ("count", "images", number),
    ("within_mean", "within: mean", score),
    ("within_sd", "sd", score),
    ("within_min", "min", score),
    ("within_max", "max", score),
    ("radius_mean", "radius: mean", score),
    ("radius_p95", "95 %", score),
    ("radius_max", "max", score),
    ("center_norm", "length of centre", score),
    ("nearest_class", "nearest: by cosine", text),
    ("nearest_center", "by centre", text),
]
_SEPARATION_COLUMNS: list[tuple[str, str, Format]] = [
    ("class", "class", text),
    ("when", "", text),
    ("within", "mean within (95 %)", str),
    ("between", "mean with others (95 %)", str),
    ("gap", "gap (95 %)", str),
    ("d_prime", "d′", score),
    ("auc", "AUC", score),
    ("overlap", "overlap", score),
]
_PAIR_COLUMNS: list[tuple[str, str, Format]] = [
    ("class_a", "class", text),
    ("class_b", "and class", text),
    ("between_mean", "between: mean", score),
    ("between_sd", "sd", score),
    ("between_min", "min", score),
    ("between_max", "max", score),
    ("center_cosine", "cosine of centres", score),
    ("center_distance", "distance of centres", score),
    ("centered_between_mean", "centred: between, mean", score),
    ("centered_center_cosine", "cosine of centres", score),
]


def _share(value: Any) -> str:
    return NONE if is_missing(value) else f"{100 * float(value):.0f} %"


def _cluster_name(value: Any) -> str:
    return "noise" if value == -1 else number(value)


_CLUSTER_COLUMNS: list[tuple[str, str, Format]] = [
    ("cluster", "cluster", _cluster_name),
    ("size", "images", number),
    ("silhouette_projection", "silhouette, projection (Euclidean)", score),
    ("silhouette_embedding", "silhouette, embedding (cosine)", score),
    ("majority_label", "most frequent label", text),
    ("majority_share", "its share", _share),
]


_K_SCORE_COLUMNS: list[tuple[str, str, Format]] = [
    ("k", "k", number),
    ("inertia_projection", "inertia, projection", score),
    ("silhouette_projection", "silhouette, projection (Euclidean)", score),
    ("calinski_harabasz_projection", "Calinski-Harabasz, projection", score),
    ("davies_bouldin_projection", "Davies-Bouldin, projection", score),
    ("silhouette_embedding", "silhouette, embedding (cosine)", score),
]


# --- headline scores --------------------------------------------------------------------------------------

SPACES = {"projection": "Projection", "embedding": "Embedding", "labels": "Against labels"}
# In the projection there is one silhouette, with Euclidean distances: it stands in the row of its kind.
_SAME_ROW = {("projection", "silhouette"): "silhouette_euclidean"}


def span(low: float, high: float) -> str:
    """A range in brackets, open where it has no end: '[-1, 1]', '[0, ∞)'; it does not break over lines."""
    return f"[{number(low, 1)},\u00a0{number(high, 1)}{')' if high == float('inf') else ']'}"


def direction(better: str | None) -> str:
    """Which direction is better, in a word."""
    return {"higher": "higher\u00a0↑", "lower": "lower\u00a0↓"}.get(better or "", NONE)


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


# --- sections ---------------------------------------------------------------------------------------------

_STATUS = {
    "failed": "This run failed.",
    "interrupted": "This run was interrupted.",
    "killed": "This run was killed before it could finish.",
    "running": "This run had not finished when this report was written.",
}


def _banner(record: Mapping[str, Any], privacy: Privacy) -> dict[str, str] | None:
    """What to say on top of the report of a run that is not complete."""
    status = str(record.get("status"))
    if status == "complete":
        return None
    done = [str(stage.get("name")) for stage in record.get("stages") or [] if stage.get("status") == "done"]
    there = f"Finished, and shown below: {', '.join(done)}." if done else "No stage was finished."
    return {
        "title": _STATUS.get(status, f"Status: {status}."),
        "reason": privacy.text(record.get("reason") or ""),
        "there": there,
    }


def _cards(run: RunFolder) -> list[tuple[str, str, str]]:
    """The run in five facts: (what, value, more)."""
    record = run.record
    images, encoder = record.get("images") or {}, record.get("encoder") or {}
    cards = [("Data set", str(look_up(record, "dataset.name", look_up(record, "config.dataset.name", NONE))), "")]
    if images.get("labelled") and images.get("classes") is not None:
        cards[0] = (*cards[0][:2], counted(images["classes"], "class", "classes"))
    skipped = images.get("skipped")
    value = number(images.get("read", images.get("listed")))
    cards.append(("Images", value, "none skipped" if skipped == 0 else f"{number(skipped)} skipped"))
    if encoder:
        more = f"encoder={encoder.get('name')}, {number(encoder.get('dimension'))} numbers"
        cards.append(("Encoder", str(encoder.get("model") or encoder.get("name")), more))
    done = stages_done(record)
    if "projection" in done:
        name = str(look_up(record, "config.projection.name", NONE))
        count = look_up(record, "config.projection.n_components")
        names = {"umap": "UMAP", "tsne": "t-SNE", "pca": "PCA", "none": "none"}
        count = 2 if name == "tsne" else count
        more = counted(count, "dimension") if count else "clusters are found in the embedding"
        cards.append(("Projection", names.get(name, name), more))
    if "clustering" in done:
        names = {"kmeans": "k-means", "spherical_kmeans": "spherical k-means", "gmm": "mixture of Gaussians"}
        names |= {"agglomerative": "agglomerative", "hdbscan": "HDBSCAN"}
        name = str(look_up(record, "config.clustering.name", NONE))
        noise = run.metrics.get("clustering/noise_share", 0)
        more = f"k = {number(run.metrics.get('clustering/k'))}" + (f", {_share(noise)} noise" if noise else "")
        if look_up(record, "config.clustering.space") == "embedding":
            more += ", of the embeddings"
        cards.append(("Clustering", names.get(name, name), more))
    return cards


def _distance_summary(metrics: Mapping[str, float]) -> Table | None:
    """Pairs within and between, before and after centring."""
    rows = []
    for place, when in (("", ""), ("centered/", ", centred")):
        for name, label in (("within", "within a class"), ("between", "between classes")):
            found = {part: metrics.get(f"class_distances/{place}{name}/all/{part}") for part in _SPREAD}
            if any(value is not None for value in found.values()):
                ends = [found["mean_low"], found["mean_high"]]
                span = NONE if None in ends else " to ".join(map(score, ends))
                rows.append([label + when, score(found["mean"]), span, *(score(found[part]) for part in _SPREAD[3:])])
    if not rows:
        return None
    note = "The interval takes images (or groups of them) for what was drawn at random, not pairs."
    heads = ["pairs of images", "mean", "95 % interval", "sd", "min", "max"]
    return Table(heads, rows, frozenset(range(1, 6)), note)


_SPREAD = ("mean", "mean_low", "mean_high", "sd", "min", "max")


def _separation_scores(metrics: Mapping[str, float]) -> Table | None:
    """How well pairs within stand apart from pairs between, before and after centring."""
    rows = []
    for name in ("auc", "d_prime", "overlap", "gap"):
        info, cells = METRICS[name], []
        for place in ("", "centered/"):
            of_all = f"class_distances/{place}separation/all/{name}"
            ends = [metrics.get(f"{of_all}_{end}") for end in ("low", "high")]
            span = "" if None in ends else f" ({score(ends[0])} to {score(ends[1])})"
            cells.append(score(metrics.get(of_all)) + span)
        if set(cells) != {NONE}:
            rows.append([info.label, *cells, span_of(info), direction(info.better), info.meaning])
    if not rows:
        return None
    heads = ["within against between", "as it is", "centred", "range", "better", "meaning"]
    note = (
        "In brackets: 95 % intervals. Centred: the mean of all images' unit vectors was subtracted and each vector "
        "scaled to length 1 again."
    )
    if "class_distances/mean_length" in metrics:
        length = score(metrics["class_distances/mean_length"])
        note += f" That mean has length {length}; near 1, all vectors lie in a narrow cone and all cosines are high."
    return Table(heads, rows, frozenset({1, 2}), note)


def span_of(info: Any) -> str:
    """The range of a measure of the catalogue."""
    return "any" if info.low == -float("inf") else span(info.low, info.high)


def _class_separation(run: RunFolder) -> Table | None:
    """For each class, its pairs against its pairs with all others."""
    if not run.has("class_separation"):
        return None
    frame = run.table("class_separation")
    frame = frame[frame["class"].notna()].copy()
    if frame.empty:
        return None
    frame["when"] = ["centred" if centered else "as it is" for centered in frame["centered"]]
    for name in ("within", "between", "gap"):
        value = "gap" if name == "gap" else f"{name}_mean"
        ends = zip(frame[value], frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
        frame[name] = [score(middle) + _between(low, high) for middle, low, high in ends]
    frame = frame.sort_values(["class", "centered"], kind="stable")
    link = _link(run, "class_separation")
    return _table(frame, _SEPARATION_COLUMNS, 2 * MOST_CLASSES, link, "rows")


def _between(low: Any, high: Any) -> str:
    return "" if is_missing(low) or is_missing(high) else f" ({score(low)} to {score(high)})"


def _named_table(
    run: RunFolder, name: str, columns: list[tuple[str, str, Format]], most: int, what: str
) -> Table | None:
    if not run.has(name):
        return None
    frame = run.table(name)
    return _table(frame, columns, most, _link(run, name), what) if len(frame) else None


_SUPPORT_COLUMNS: list[tuple[str, str, Format]] = [
    ("gap", "gap to the nearest (1: none)", score),
    ("jaccard", "found again in halves (1: whole)", score),
]


def _cluster_table(run: RunFolder) -> Table | None:
    """A row per cluster, with its gap and stability where these were measured on all images."""
    if not run.has("cluster_table") or not len(frame := run.table("cluster_table")):
        return None
    support = run.table("cluster_support") if run.has("cluster_support") and not sampled(run) else None
    if support is not None:
        frame = frame.merge(support[["cluster", "gap", "jaccard"]], on="cluster", how="left")
    columns = [*_CLUSTER_COLUMNS[:4], *_SUPPORT_COLUMNS, *_CLUSTER_COLUMNS[4:]]
    return _table(frame, columns, MOST_CLUSTERS, _link(run, "cluster_table"), "clusters")


def _sample_clusters(run: RunFolder) -> Table | None:
    """The clusters of the sample that was compared: others than the run's, though found in the same way."""
    if not sampled(run) or not run.has("cluster_support") or not len(frame := run.table("cluster_support")):
        return None
    columns = [*_CLUSTER_COLUMNS[:2], ("nearest", "nearest cluster", number), *_SUPPORT_COLUMNS]
    return _table(frame, columns, MOST_CLUSTERS, _link(run, "cluster_support"), "clusters")


def _compared(run: RunFolder) -> Table | None:
    """Every score against clouds without clusters, in both spaces."""
    found = rows(run)
    if not found:
        return None
    cells = [[row.label, row.where, row.observed, row.clouds, row.count, row.excess, row.p] for row in found]
    note = (
        "±: standard deviation, of the images over half-samples. ln: Calinski-Harabasz and Davies-Bouldin are compared "
        "by the logarithm of their ratio to the clouds' (geometric) mean, whose spread is a factor (×÷). The excess is "
        "positive where the images have more structure."
    )
    if any("*" in row.observed for row in found):
        note += (
            " *: half of the images score otherwise than all (the mean of the halves is more than two standard "
            "deviations away), so the number depends on how many images there are."
        )
    heads = ["score", "which clusters, where", "images", "clouds without clusters", "clouds", "excess", "p"]
    note = " ".join(filter(None, [sampled(run), note]))
    return Table(heads, cells, frozenset(range(2, 7)), note, _link(run, "null_scores"))


def _clouds(run: RunFolder) -> dict[str, str]:
    """What the clouds were, and what they give where the images give a gap and clusters found again."""
    if not run.has("verdict"):
        return {}
    verdict = run.table("verdict").iloc[0]
    again = run.table("cluster_support")["null_jaccard"].tolist() if run.has("cluster_support") else []
    return {
        "alike": null_in_words(run.record),
        "gap": "" if is_missing(verdict["null_gap"]) else score(verdict["null_gap"]),
        "jaccard": "" if not again or is_missing(again[0]) else score(again[0]),
    }


_LABEL_COLUMNS: list[tuple[str, str, Format]] = [
    ("label", "label", text),
    ("present", "images that show it", number),
    ("negatives", "images that do not", number),
    ("negatives_are", "which are", text),
    ("within_mean", "mean within", score),
    ("between_mean", "mean with the others", score),
    ("gap_with_interval", "gap (95 %)", str),
    ("auc", "AUC", score),
    ("precision_at_5", "of the 5 nearest show it", _share),
    ("chance_at_5", "by chance", _share),
]


def _label_scores(run: RunFolder) -> Table | None:
    """For each of several labels, the images that show it against others."""
    if not run.has("label_scores"):
        return None
    frame = run.table("label_scores")
    if frame.empty:
        return None
    ends = zip(frame["gap"], frame["gap_low"], frame["gap_high"], strict=True)
    frame = frame.assign(gap_with_interval=[score(middle) + _between(low, high) for middle, low, high in ends])
    return _table(frame, _LABEL_COLUMNS, MOST_CLASSES, _link(run, "label_scores"), "labels")


def _label_structure(run: RunFolder) -> Table | None:
    """How far clusters, neighbours and a probe find the labels, beside what permuted labels give."""
    if not run.has("label_structure"):
        return None
    rows = []
    for row in run.table("label_structure").to_dict("records"):
        info = METRICS[row["name"]]
        chance = score(row["permuted_mean"])
        chance += "" if is_missing(row["permuted_sd"]) else f" ± {score(row['permuted_sd'])}"
        cells = [score(row["value"]), chance, number(row["p"]), number(row["images"])]
        rows.append([info.label, *cells, direction(info.better), row["meaning"]])
    if not rows:
        return None
    heads = ["score", "value", "with permuted labels", "p", "images", "better", "meaning"]
    return Table(heads, rows, frozenset(range(1, 5)), _permutations(run), _link(run, "label_structure"))


def _permutations(run: RunFolder) -> str:
    """How labels were permuted, and what was measured on a sample."""
    count = look_up(run.record, "config.significance.permutations", 0)
    most = look_up(run.record, "config.significance.max_images")
    grouped = look_up(run.record, "images.grouped")
    groups = ", between groups as wholes where every group has one label" if grouped else ""
    said = f"Labels were permuted {number(count)} times{groups}. " if count else "No labels were permuted. "
    return f"{said}Neighbours and probe: a random sample where more than {number(most)} images have a label."


_FINDING_COLUMNS: list[tuple[str, str, Format]] = [
    ("name", "", lambda name: str(name).replace("_", " ")),
    ("value", "", number),
    ("detail", "", text),
]
_DUPLICATE_COLUMNS: list[tuple[str, str, Format]] = [
    ("duplicate_group", "group", lambda group: number(group + 1)),
    ("kind", "", text),
    ("id", "image", text),
    ("label", "label", text),
    ("group", "belongs to", text),
    ("split", "split", text),
    ("cosine", "nearest cosine", score),
    ("crosses", "in more than one", text),
]


def _findings(run: RunFolder) -> Table | None:
    if not run.has("data_quality"):
        return None
    return _table(run.table("data_quality"), _FINDING_COLUMNS, 100, _link(run, "data_quality"), "findings")


def _duplicates(run: RunFolder, privacy: Privacy) -> Table | None:
    """Images that there are more than once, those first whose group crosses classes, groups or splits."""
    if not run.has("duplicates") or not len(frame := run.table("duplicates")):
        return None
    frame = frame.assign(harmless=frame["crosses"].eq("")).sort_values(["harmless", "duplicate_group"], kind="stable")
    frame = privacy.table(frame.dropna(axis="columns", how="all"))
    link = "" if {"path", "id"} & privacy.hide else _link(run, "duplicates")
    return _table(frame, _DUPLICATE_COLUMNS, MOST_DUPLICATES, link, "images")


def _suggestions(run: RunFolder) -> tuple[str, Table | None]:
    """Which criteria agree on k, in words, and what each suggests."""
    if not run.has("k_suggestions") or not len(frame := run.table("k_suggestions")):
        return "", None
    found = [(LABELS[row["criterion"]], row) for row in frame.to_dict("records")]
    rows = [
        [
            label,
            SPACES.get(row["space"], row["space"]),
            {"knee": "farthest below the chord"}.get(row["rule"], row["rule"]),
            number(row["k"]),
            score(row["value"]),
            "an end of the range: a wider one may move it" if row["at_end"] else "",
        ]
        for label, row in found
    ]
    table = Table(["criterion", "space", "rule", "suggested k", "value there", "note"], rows, frozenset({3, 4}))
    return in_words({label: int(row["k"]) for label, row in found}), table


def _skipped(run: RunFolder, privacy: Privacy) -> tuple[Table | None, Table | None]:
    """Skipped files counted by reason, and the files themselves."""
    reasons = run.record.get("skipped_reasons") or {}
    counts = None
    if reasons:
        rows = [[privacy.text(reason), number(count)] for reason, count in reasons.items()]
        counts = Table(["reason", "files"], rows, frozenset({1}))
    if run.skipped is None or len(run.skipped) == 0:
        return counts, None
    files = privacy.table(run.skipped.head(MOST_SKIPPED + 1))
    named = "path" if run.skipped["path"].astype(bool).any() else "id"  # vectors without images have no paths
    columns: list[tuple[str, str, Format]] = [(name, name, text) for name in (named, "reason", "detail")]
    table = _table(files, columns, MOST_SKIPPED, "" if {"path", "id"} & privacy.hide else "skipped.csv", "files")
    if len(run.skipped) > MOST_SKIPPED:
        note = f"The first {MOST_SKIPPED} of {number(len(run.skipped))} files."
        table = Table(table.heads, table.rows, table.numeric, note, table.link)
    return counts, table


def _left_out(record: Mapping[str, Any], privacy: Privacy) -> Table | None:
    rows = [[str(item.get("stage")), privacy.text(item.get("reason"))] for item in record.get("left_out") or []]
    return Table(["stage", "why it was left out"], rows) if rows else None


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


def _redrawn(record: Mapping[str, Any]) -> str:
    """When, and how the pictures look now."""
    plots = look_up(record, "redrawn.plots", {})
    look = ", ".join(f"{name} = {plain(value)}" for name, value in plots.items())
    return f"{moment(look_up(record, 'redrawn.time'))}: {look}" if plots else ""


def _warnings(record: Mapping[str, Any], privacy: Privacy) -> list[str]:
    """The run's warnings and its stages', each once."""
    texts = list(record.get("warnings") or [])
    for stage in record.get("stages") or []:
        texts += [warning for warning in stage.get("warnings") or [] if warning not in texts]
    return [privacy.text(warning) for warning in dict.fromkeys(map(str, texts))]


# --- pictures ---------------------------------------------------------------------------------------------

_CAPTIONS = {
    "sheet": "A random sample of the images.",
    "data_overview": "What the data set is made of.",
    "duplicates_sheet": "Images that the data set has more than once: group, nearest cosine within it, label.",
    "extremes_sheet": "The darkest, brightest and most blurred images, as the encoder sees them.",
    "elbow": "Inertia over the number of clusters, and its knee: the point farthest below the line between the ends.",
    "silhouettes_by_k": "Mean silhouette over the number of clusters; the two spaces do not compare.",
    "dispersion_by_k": "Calinski-Harabasz and Davies-Bouldin over the number of clusters.",
    "blades_by_k": "The silhouette of every image, by cluster, for several numbers of clusters.",
    "map": "The map, coloured by cluster and by label. It is for looking: distances on it mean little.",
    "class_similarity_centered": "Mean cosine similarity after centring: what remains without the common cone.",
    "within_between_centered": "Cosine similarities of pairs after centring.",
    "label_scores": "How well each label is told apart: the AUC, and the neighbours of the images that show it.",
    "similarity": "Mean cosine similarity within classes (diagonal) and between classes.",
    "within": "Cosine similarities of pairs within a class and of pairs between classes.",
    "between": "Cosine similarities of pairs within a class and of pairs between classes.",
    "observed_against_null": "Each score of the images beside that of clouds without clusters, in both spaces.",
    "gaps": "Gap of each cluster to its nearest (shaded: none), and how much of it half of the images find again.",
    "k_choice": "Silhouette and stability over the number of clusters, of the images and of clouds without clusters.",
    "label": "How the images of each label spread over the clusters.",
    "silhouette": "The silhouette of every image, by cluster.",
    "blades": "The silhouette of every image, by cluster.",
}
_PLACES = {
    "data_quality": "quality",
    "class_distances": "distances",
    "label_scores": "labels",
    "projection": "map",
    "k_selection": "k_selection",
    "clustering": "map",
    "cluster_metrics": "map",
    "significance": "trust",
}


_FIRST = frozenset({"observed_against_null"})  # of its section; the others stand in the order of their names


def _caption(name: str) -> str:
    if name.startswith("cluster_") and name.removeprefix("cluster_").isdigit():
        return f"Cluster {int(name.removeprefix('cluster_'))}: members nearest to its centre, and random ones."
    if name in _CAPTIONS:
        return _CAPTIONS[name]
    words = name.split("_")
    known = [caption for key, caption in _CAPTIONS.items() if key in words or f"{key}s" in words]
    return known[0] if known else " ".join(words).capitalize() + "."


def _place(stage: str, name: str) -> str:
    if name.startswith("cluster_") and name.removeprefix("cluster_").isdigit():
        return "clusters"
    return _PLACES.get(stage, "pictures")


def _pictures(run: RunFolder, privacy: Privacy) -> dict[str, list[Picture]]:
    """Pictures as data URIs, by the section that they belong to."""
    places: dict[str, list[Picture]] = {}
    shown = sorted(privacy.pictures(run.pictures), key=lambda it: PurePath(it[1]).stem not in _FIRST)
    for stage, name, path in shown:
        if not Path(path).is_file():
            continue
        data = base64.b64encode(Path(path).read_bytes()).decode("ascii")
        caption = _caption(PurePath(name).stem)
        picture = Picture(f"data:image/png;base64,{data}", f"{caption} (picture: {stage}/{name})", caption)
        places.setdefault(_place(stage, PurePath(name).stem), []).append(picture)
    return places


# --- the page ---------------------------------------------------------------------------------------------


def _sections(run: RunFolder, privacy: Privacy) -> list[Section]:
    record = run.record
    k = run.metrics.get("clustering/k")
    pictures = _pictures(run, privacy)
    paragraph, references = methods_paragraph(record, k)
    counts, files = _skipped(run, privacy)
    settings = [(key, privacy.setting(key, value)) for key, value in flatten(record.get("config") or {})]
    scores = headline(run.metrics)
    sentence, suggested = _suggestions(run)
    sections = [
        Section(
            "glance",
            "At a glance",
            {
                "answer": answer(run),
                "question": QUESTION,
                "cards": _cards(run),
                "scores": scores,
                "faithfulness": _faithfulness(run),
                "umap": look_up(record, "config.projection.name") == "umap",
                "warnings": _warnings(record, privacy),
            },
        ),
        Section(
            "trust",
            "Can the clusters be trusted?",
            {
                "table": _compared(run),
                "clouds": _clouds(run),
                "k": supported_k(run),
                "pictures": pictures.get("trust", []),
                "sample": _sample_clusters(run),
            },
        ),
        Section("protocol", "What was run", {"lines": list(map(privacy.text, protocol_lines(record, k)))}),
        Section(
            "quality",
            "The data",
            {
                "findings": _findings(run),
                "duplicates": _duplicates(run, privacy),
                "near": look_up(record, "config.data_quality.near_duplicate"),
                "pictures": pictures.get("quality", []),
            },
        ),
        Section(
            "distances",
            "Class distances",
            {
                "summary": _distance_summary(run.metrics),
                "separation": _separation_scores(run.metrics),
                "by_class": _class_separation(run),
                "classes": _named_table(run, "class_summary", _CLASS_COLUMNS, MOST_CLASSES, "classes"),
                "pairs": _named_table(run, "class_pairs", _PAIR_COLUMNS, MOST_PAIRS, "pairs of classes"),
                "pictures": pictures.get("distances", []),
            },
        ),
        Section(
            "labels", "Each label for itself", {"table": _label_scores(run), "pictures": pictures.get("labels", [])}
        ),
        Section(
            "k_selection",
            "How many clusters",
            {
                "sentence": sentence,
                "suggestions": suggested,
                "scores": _named_table(run, "k_scores", _K_SCORE_COLUMNS, MOST_CLUSTERS, "rows"),
                "pictures": pictures.get("k_selection", []),
            },
        ),
        Section("map", "Map and clusters", {"pictures": pictures.get("map", [])}),
        Section("clusters", "Clusters", {"table": _cluster_table(run), "pictures": pictures.get("clusters", [])}),
        Section("label_structure", "Labels", {"table": _label_structure(run)}),
        Section("pictures", "Images", {"pictures": pictures.get("pictures", [])}),
        Section("skipped", "Skipped files", {"counts": counts, "files": files}),
        Section("left_out", "Left out", {"table": _left_out(record, privacy)}),
        Section(
            "provenance",
            "Provenance",
            {
                "facts": _facts(record, privacy),
                "stages": _stage_times(record, privacy),
                "settings": settings,
            },
        ),
        Section("methods", "Methods, to cite", {"paragraph": privacy.text(paragraph), "references": references}),
    ]
    return [section for section in sections if _has_content(section)]


def _has_content(section: Section) -> bool:
    return section.key == "glance" or any(section.content.values())


def render(run: RunFolder) -> str:
    """The report of a run as one HTML page that needs no other file and no network.

    Args:
        run: a finished, failed or interrupted run; parts that it does not have are left out.

    Returns:
        HTML, everything from outside escaped; pictures are embedded. `config.report.hide` of the run's
        record takes paths, captions, ids or images out.
    """
    privacy = privacy_of(run)
    title = str(look_up(run.record, "dataset.name", look_up(run.record, "config.dataset.name", "run")))
    html = (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            name=privacy.run_name(run.name),
            status=str(run.record.get("status")),
            started=moment(run.record.get("started") or ""),
            took=duration(run.record.get("seconds")) if run.record.get("seconds") is not None else "",
            banner=_banner(run.record, privacy),
            sections=_sections(run, privacy),
            hidden=sorted(privacy.hide),
        )
    )
    return encodable(html)
