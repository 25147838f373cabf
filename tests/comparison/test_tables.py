"""Tables for people and papers: Markdown, LaTeX, over seeds, and with what is hidden."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.comparison.sheets import Sheet, sheets
from pipeline.comparison.texts import escaped, latex, markdown
from pipeline.comparison.writing import Compared, write
from pipeline.report.privacy import privacy_of_all
from pipeline.schema import Palette, PictureFormat, PlotSettings
from tests.comparison.made import MadeRun, entries, run

LOOK = PlotSettings([PictureFormat.png], 50, 180.0, Palette.petroff10)
SPECIAL = "\\ { } & % $ # _ ~ ^ < > | \" ` ' ± − é"
NASTY = Sheet(SPECIAL, SPECIAL, [(SPECIAL, False), ("k", True)], [[SPECIAL, "1"], ["[x]", "日本"]], frozenset({(0, 1)}))


def compared(folder: Path, *runs: MadeRun, hide: tuple[str, ...] = ()) -> Compared:
    privacy = privacy_of_all(runs, hide)
    return write(entries(*runs, hide=hide), [""] * len(runs), folder, "Sweep a/b", privacy, LOOK)


def grid(**more: Any) -> list[MadeRun]:
    return [
        run(i, (f"encoder={e}", f"clustering.k={k}"), encoder=e, k=k, silhouette=0.3 + 0.1 * i, **more)
        for i, (e, k) in enumerate((e, k) for e in ("none", "openai") for k in (2, 3))
    ]


def unescaped(text: str) -> str:
    """What is left of LaTeX without what it knows."""
    known = r"\\text[a-z]+\{\}|\\[{}&%$#_]|\$[-']\$|\$\\[a-z]+\$|\\ldots\{\}|\\textsuperscript\{2\}"
    return re.sub(known, "", text)


def whole(text: str) -> None:
    """Braces and environments match, and every row has as many cells as there are columns."""
    bare = re.sub(r"\\[{}\\&%$#_]", "", text)
    assert bare.count("{") == bare.count("}")
    for name in ("table", "tabular"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}") > 0
    for columns, body in re.findall(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}\n(.*?)\\end\{tabular\}", text, re.S):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert rows and all(len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1 for row in rows)
        assert [line for line in body.splitlines() if not line.endswith(r"\\")] == [r"\toprule", r"\midrule",
                                                                                   r"\bottomrule"]  # fmt: skip


def compiled(text: str, place: Path) -> None:
    """By a LaTeX, where there is one, as the input of a document that has booktabs and graphicx and nothing else."""
    program = shutil.which("pdflatex") or shutil.which("lualatex") or shutil.which("tectonic")
    if program is None:
        return  # `whole` has looked at what can be told without one
    (place / "comparison.tex").write_text(text, encoding="utf-8")
    head = "\\documentclass{article}\\usepackage{booktabs,graphicx}"
    document = f"{head}\\begin{{document}}\\input{{comparison.tex}}\\end{{document}}"
    (place / "paper.tex").write_text(document, encoding="utf-8")
    options = [] if "tectonic" in program else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([program, *options, "paper.tex"], cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_special_characters_in_latex(tmp_path: Path) -> None:
    assert not set(unescaped(escaped(SPECIAL))) & set('\\{}&%$#_~^<>|"')
    assert escaped("日本 ß ű") == "?? ß ű"
    text = latex([NASTY], SPECIAL)
    whole(text)
    assert "\n{}[x] &" in text, "a bracket after a line break would be its argument"
    compiled(text, tmp_path)


def test_special_characters_in_markdown() -> None:
    text = markdown([NASTY], "a | b")
    rows = [line for line in text.splitlines() if line.startswith("| \\\\")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3] and "**1**" in rows[1]
    assert text.startswith("# a \\| b\n")


def test_scores_stand_beside_their_excess_and_verdict(tmp_path: Path) -> None:
    found = compared(tmp_path, *grid())
    first = found.sheets[0]
    assert [name for name, _ in first.heads] == [
        "model", "k", "clusters?", "gap", "silhouette, projection", "excess", "silhouette (cosine), embedding", "excess"
    ]  # fmt: skip
    assert first.rows[1] == ["none", "3", "weak", "0.800", "0.400", "+0.300", "0.400", "+0.300"]
    assert first.best == {(1, 4), (1, 6), (3, 4), (3, 6)}, "the best k of each encoder, not the better encoder"
    said = "Data: made, 12 images in 2 classes. Encoder: none none of 2026, 8-D; openai openai of 2026, 8-D. Projection"
    assert first.caption.startswith(said)
    assert "5 gaussian clouds without clusters, 4 half-samples. clipscope aaaaaaaaa, numpy 2.4.6." in first.caption
    assert [sheet.title for sheet in found.sheets] == ["Clusters", "Agreement with labels", "Paired differences"]
    text = (tmp_path / "comparison.tex").read_text(encoding="utf-8")
    whole(text)
    compiled(text, tmp_path)
    assert "## Paired differences" in (tmp_path / "comparison.md").read_text(encoding="utf-8")
    rows = pd.read_csv(tmp_path / "comparison.csv")
    assert rows["cluster_metrics/embedding/silhouette_cosine/excess"].tolist() == pytest.approx([0.2, 0.3, 0.4, 0.5])
    assert rows["same_images"].tolist() == [1] * 4 and rows["same_embedding"].tolist() == [1, 1, 2, 2]
    apart = pd.read_csv(tmp_path / "differences.csv")
    assert set(zip(apart["a"], apart["b"], strict=True)) == {(0, 2), (1, 3)}
    assert {file.name for file in tmp_path.glob("*.png")} == {
        "comparison.png", "comparison_models.png", "comparison_differences.png"
    }  # fmt: skip


def test_mean_and_deviation_over_seeds(tmp_path: Path) -> None:
    runs = [
        run(i, (f"encoder={e}", f"seed={seed}"), encoder=e, ari=0.5 + 0.1 * seed)
        for i, (e, seed) in enumerate((e, seed) for e in ("none", "openai") for seed in (0, 1, 2))
    ]
    found = compared(tmp_path, *runs)
    of_labels = next(sheet for sheet in found.sheets if sheet.title == "Agreement with labels")
    assert [name for name, _ in of_labels.heads][:4] == ["model", "k", "seeds", "ARI"]
    assert [row[:4] for row in of_labels.rows] == [["none", "3", "3", "0.600 ± 0.100"],
                                                   ["openai", "3", "3", "0.600 ± 0.100"]]  # fmt: skip
    assert found.sheets[0].rows[0][3] == "3 weak"
    assert set(found.differences["seeds"]) == {"seed=0", "seed=1", "seed=2"}
    whole((tmp_path / "comparison.tex").read_text(encoding="utf-8"))


def test_blocks_of_other_images_have_tables_of_their_own(tmp_path: Path) -> None:
    others = tuple("mnopqrstuvwx")
    runs = [run(0, ("encoder=a",), encoder="a"), run(1, ("encoder=b",), encoder="b"),
            run(2, ("encoder=c",), encoder="c", ids=others)]  # fmt: skip
    found = compared(tmp_path, *runs)
    assert [sheet.title for sheet in found.sheets][:2] == ["Clusters, images 1", "Agreement with labels, images 1"]
    assert not any(sheet.best for sheet in found.sheets if sheet.title.endswith("images 2"))
    assert set(found.differences["b"]) == {"1"}
    assert "other images" in found.refused[0].text and not found.refused[0].expected


def test_a_table_holds_only_runs_that_have_one_of_its_scores(tmp_path: Path) -> None:
    """Raw pixels know no texts, and a row of dashes tells nothing."""
    spoken = run(1, ("encoder=openai",), encoder="openai", metrics={"zero_shot/top1": 0.5})
    found = compared(tmp_path, run(0, ("encoder=none",)), spoken)
    by_texts = next(sheet for sheet in found.sheets if sheet.title == "By texts")
    assert [row[0] for row in by_texts.rows] == ["openai"]
    assert [row[0] for row in found.sheets[0].rows] == ["none", "openai"]


def test_failed_jobs_have_a_row_and_nothing_else(tmp_path: Path) -> None:
    bare = dict.fromkeys(("images", "projection", "null_scores", "half_scores", "verdict"))
    found = compared(tmp_path, run(0, ("clustering.k=3",)), run(1, ("clustering.k=x",), status="failed", **bare))
    assert found.rows["status"].tolist() == ["complete", "failed"]
    assert len(found.sheets[0].rows) == 1 and not len(found.differences)
    assert "out of memory" in (tmp_path / "comparison.html").read_text(encoding="utf-8")
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    found = compared(nothing, run(0, (), status="failed", **bare))
    assert found.sheets == [] and not list(nothing.glob("*.png"))


def test_hidden_paths_are_in_no_file(tmp_path: Path) -> None:
    runs = [
        run(i, (f"encoder.path=/home/ann/{name}.npy",), encoder="precomputed", status=status,
            record={"command": "python run.py encoder.path=/home/ann/a.npy", "reason": "/home/ann/c.npy: damaged",
                    "encoder": {"name": "precomputed", "model": f"{name}.npy", "fingerprint": name},
                    "config": {"encoder": {"name": "precomputed", "path": f"/home/ann/{name}.npy"}}})
        for i, (name, status) in enumerate((("a", "complete"), ("b", "complete"), ("c", "failed")))
    ]  # fmt: skip
    compared(tmp_path, *runs, hide=("path",))
    for file in tmp_path.iterdir():
        assert b"/home" not in file.read_bytes() and b".npy" not in file.read_bytes(), file.name
    assert pd.read_csv(tmp_path / "comparison.csv")["model"].tolist() == [
        f"precomputed, (hidden) {i}" for i in (1, 2, 3)
    ]


def test_published_values_of_all_runs_stand_together() -> None:
    def made(number: int, experiment: str) -> MadeRun:
        row = {
            "experiment": experiment, "row": f"row of {experiment}", "score": "projection/silhouette",
            "published": 0.38, "mean": 0.4, "sd": 0.01, "low": 0.35, "high": 0.45, "over": "seeds", "runs": 5,
            "null_mean": 0.2, "null": "clouds without clusters", "verdict": "inside", "differs": "", "notes": "",
            "source": "the README",
        }  # fmt: skip
        return run(number, (f"experiment={experiment}",), encoder=experiment, experiment_scores=pd.DataFrame([row]))

    known = entries(made(0, "rocov2_none"), made(1, "rocov2_openai"))
    (sheet,) = [one for one in sheets(known, pd.DataFrame(), pd.DataFrame(), 0, "") if one.title == "Published values"]
    assert [name for name, _ in sheet.heads] == [
        "published row", "score", "published", "measured", "95 % of single runs", "by chance", "verdict"
    ]  # fmt: skip
    assert sheet.rows[1] == [
        "rocov2_openai: row of rocov2_openai", "Silhouette, in the projection", "0.380", "0.400 ± 0.010",
        "0.350 to 0.450", "0.200", "inside",
    ]  # fmt: skip
    assert "By the published protocol. 5 runs with different seeds. Source: the README." in sheet.caption
