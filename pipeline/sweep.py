"""A sweep's folder in, its comparison out: a table, a page and a picture. Reads records, computes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from pipeline.schema import restored

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig

    from pipeline.run_dir import Run

# what is compared: keys of metrics.json by their beginnings
COMPARED = (
    "cluster_metrics/",
    "projection/quality/",
    "class_distances/within/all/",
    "class_distances/between/all/",
    "class_distances/separation/all/auc",
    "class_distances/centered/separation/all/auc",
    "clustering/inertia",
    "clustering/noise_share",
    *(f"zero_shot/{name}" for name in ("top1", "top5", "macro", "ece", "majority")),
    *(f"retrieval/{way}/recall_at_" for way in ("image_to_text", "text_to_image")),
)
# what is drawn: (key, label with its space)
DRAWN = (
    ("cluster_metrics/projection/silhouette", "Silhouette, in the projection"),
    ("cluster_metrics/embedding/silhouette_cosine", "Silhouette (cosine), in the embedding"),
    ("cluster_metrics/projection/davies_bouldin", "Davies-Bouldin, in the projection"),
    ("cluster_metrics/embedding/davies_bouldin", "Davies-Bouldin, in the embedding"),
    ("cluster_metrics/labels/ari", "Adjusted Rand index, against labels"),
    ("cluster_metrics/labels/ami", "Adjusted mutual information, against labels"),
)

running: Path | None = None  # the folder of the sweep that is going on
outcome: int | None = None  # exit status of the sweep that ended: 1 if one of its jobs did not complete


class Comparison(Callback):
    """Hydra calls it before and after a sweep; single runs pass it by."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember the folder: an interrupted sweep is compared as far as it came."""
        global running
        running = Path(str(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """All jobs have ended, well or not."""
        finish()


def finish() -> None:
    """Write and show the comparison of the sweep that is going on, if there is one."""
    global running, outcome
    if running is None:
        return
    folder, running = running, None
    rows = compare(folder)
    outcome = 0 if len(rows) and (rows["status"] == "complete").all() else 1
    _show(rows, folder)


def compare(folder: Path) -> pd.DataFrame:
    """A row for each job from the records on disk, failed ones included; written to comparison.csv and .html."""
    from pipeline.report.comparison import render_comparison

    rows = job_rows(folder)
    rows.to_csv(folder / "comparison.csv", index=False)
    picture = _draw(rows, folder)
    failures = [
        {"job": row["job"], "overrides": row["overrides"], "reason": row["reason"]}
        for row in rows.to_dict("records")
        if row["status"] != "complete"
    ]
    heading = f"Sweep {'/'.join(folder.parts[-2:])}"
    same = [
        name
        for name in ("dataset", "encoder", "projection", "images")
        if name in rows and rows[name].nunique(dropna=False) < 2
    ]
    shown = rows.drop(columns=["overrides", "images", *same], errors="ignore")
    page = render_comparison(shown, picture, failures, heading, _hidden(folder))
    (folder / "comparison.html").write_text(page, encoding="utf-8")
    return rows


def _hidden(folder: Path) -> list[str]:
    """What any of the jobs wants hidden."""
    configs = [run.record.get("config") or {} for run in _runs(folder)]
    return sorted({name for config in configs for name in config.get("report", {}).get("hide", [])})


def _runs(folder: Path) -> list[Run]:
    """The jobs that have a record, in the order of their numbers."""
    from pipeline.run_dir import RECORD, load_run

    numbers = sorted(int(f.name) for f in folder.iterdir() if f.name.isdigit() and (f / RECORD).is_file())
    return [load_run(folder / str(number)) for number in numbers]


def job_rows(folder: Path) -> pd.DataFrame:
    """job, status, reason, the settings that vary, what it was, how long it took, and its scores."""
    import pandas as pd

    runs = _runs(folder)
    overrides = [dict(word.split("=", 1) for word in _words(run.record)) for run in runs]
    varied = _varied(overrides)
    rows = []
    for run, given in zip(runs, overrides, strict=True):
        number = int(run.folder.name)
        config = run.record.get("config") or {}
        chosen = {group: (config.get(group) or {}).get("name") for group in ("dataset", "encoder", "projection")}
        others = [str(given.get(key, "")) for key in varied if key not in ("clustering.k", "encoder")]
        rows.append(
            {
                "job": number,
                "status": run.record["status"],
                "reason": run.record.get("reason") or "",
                **{key: given.get(key, "") for key in varied},
                **{key: value for key, value in chosen.items() if key not in varied},
                "k": run.metrics.get("clustering/k", float("nan")),
                "model": ", ".join([str(chosen["encoder"] or given.get("encoder", "?")), *others]),
                "images": run.metrics.get("images/read"),
                **_noise(runs, run),
                **_trust(runs, run),
                "seconds": run.record.get("seconds"),
                "report": f"{number}/report.html" if (run.folder / "report.html").is_file() else "",
                "overrides": " ".join(_words(run.record)),
                **{key: value for key, value in run.metrics.items() if key.startswith(COMPARED)},
            }
        )
    return pd.DataFrame(rows)


def _noise(runs: Sequence[Run], run: Run) -> dict[str, str]:
    """The share of images that are in no cluster, where any job has some."""
    shares = {id(r): r.metrics.get("clustering/noise_share", 0.0) for r in runs}
    return {"noise": f"{shares[id(run)]:.1%}"} if any(shares.values()) else {}


def _trust(runs: Sequence[Run], run: Run) -> dict[str, Any]:
    """The verdict and what it rests on, where any job has one."""
    if not any(other.has("verdict") for other in runs):
        return {}
    found = run.table("verdict").iloc[0] if run.has("verdict") else {}
    return {name: found.get(name) for name in ("verdict", "excess", "p", "gap")}


def _words(record: dict[str, Any]) -> list[str]:
    return [str(word) for word in (record.get("sweep") or {}).get("overrides", []) if "=" in str(word)]


def _varied(overrides: Sequence[dict[str, str]]) -> list[str]:
    keys = dict.fromkeys(key for given in overrides for key in given)
    return [key for key in keys if len({given.get(key) for given in overrides}) > 1]


def _draw(rows: pd.DataFrame, folder: Path) -> Path | None:
    """Metric against k, a line per model, in the look of the first job's pictures."""
    from pipeline.figure_files import save
    from pipeline.metrics.catalog import METRICS
    from pipeline.plots.style import look
    from pipeline.plots.sweep import metric_against_k

    drawn = [(key, label) for key, label in DRAWN if key in rows and rows[key].notna().any()]
    if not drawn:
        return None
    plots = next(made for run in _runs(folder) if (made := restored(run.record.get("config") or {}).plots).formats)
    done = json.loads(rows[rows["status"] == "complete"].to_json(orient="records"))  # missing values as None
    metrics = [(key, label, METRICS[key.rsplit("/", 1)[1]].better) for key, label in drawn]
    with look(plots.width_mm, plots.palette.value):
        save({"comparison": metric_against_k(done, metrics)}, folder, plots)
    return folder / "comparison.png"


def _show(rows: pd.DataFrame, folder: Path) -> None:
    from pipeline.console import Say, number
    from pipeline.report.comparison import OF_WORDS, SEPARATION

    say = Say()
    keys = [key for key, _ in DRAWN if key in rows and not key.endswith("ami")]  # ami: a column too many for a console
    keys = keys or [key for key in (SEPARATION,) if key in rows]
    spaces = [key.removeprefix("cluster_metrics/").replace("/", "\n").replace("_", "\n") for key in keys]
    spaces = [space if key != SEPARATION else "class\ndistances\nauc" for key, space in zip(keys, spaces, strict=True)]
    trust = [name for name in ("verdict", "excess", "gap") if name in rows and rows[name].notna().any()]
    cells = [
        [row["model"], row["job"], row["status"], *(f"{row['k']:.0f}" if row["k"] == row["k"] else "-",)]
        + [row[name] or "-" if name == "verdict" else number(row[name]) for name in trust]
        + [number(row[key]) for key in keys]
        for row in rows.to_dict("records")
    ]
    title = "sweep: each score in the space named; compare within one space only"
    heads = [{"verdict": "clusters?", "excess": "beyond\nclouds", "gap": "gap\n(1:\nnone)"}[name] for name in trust]
    say.table(title, ["model", "job", "status", "k", *heads, *spaces], cells)
    if words := [key for key in OF_WORDS if key in rows and not key.endswith(("5", "10"))]:
        told = [key.replace("/", "\n", 1).replace("/", " ").replace("_", " ") for key in words]
        lines = [[row["model"], row["job"], *(number(row[key]) for key in words)] for row in rows.to_dict("records")]
        say.table(
            "by texts: compare encoders and prompts on the same images and classes", ["model", "job", *told], lines
        )
    for row in rows.to_dict("records"):
        if row["status"] != "complete":
            say.error(f"job {row['job']} ({row['overrides']}): {row['status']}: {row['reason']}")
    say.place("comparison", folder / "comparison.html")
