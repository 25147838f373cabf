"""What `python run.py --help` prints: made from the files in conf/, so it cannot go stale."""

from __future__ import annotations

from pathlib import Path

HEAD = """\
clipscope: how an encoder sees your images. A data set becomes vectors; vectors become class distances,
maps, clusters and scores; every run ends with a summary and a report.

  python run.py [group=choice ...] [key=value ...]
"""

CALLS = """\
Calls worth copying
  python run.py                                              the built-in default: digits, offline
  python run.py encoder=openai dataset=folders dataset.root=/images   sub-folders are classes, or one flat folder
  python run.py encoder=openai dataset=folders 'dataset.pairs=[dogs,/x/a,"cats (2)",/x/b]' analysis=class_distances
  python run.py encoder=openai dataset=folders dataset.root=/images 'dataset.group="patient(\\d+)"'
  python run.py -m encoder=none,openai dataset=folders dataset.root=/images dataset.limit=500   two encoders, 500 images
  python run.py 'stages=[class_distances,cluster_metrics]'   stages one by one; what they need comes along
  python run.py -m clustering.k=4,8,16 projection=umap,none  a sweep, with a comparison at its end
  python run.py -m sweep.resume=last                         a sweep that did not end: what is complete stays
  python run.py analysis=zero_shot encoder=openai dataset=folders dataset.root=/images prompts=openai7   classes by text
  python run.py analysis=search from_run=outputs/... 'search.queries=["a cat on a porch"]'   nothing embedded again
  python run.py analysis=text_index encoder=openai text=folder text.path=/corpus   an index of texts
  python run.py analysis=tagging encoder=openai dataset=folders dataset.root=/x tagging.index=outputs/.../text_index
  python run.py analysis=redraw run=outputs/... plots.width_mm=85   a finished run's pictures again, nothing computed
  python run.py analysis=compare 'runs=[outputs/...,outputs/...]'   finished runs side by side, sweeps too
  python run.py dry_run=true                                 the plan: images, stages, cache hits, time, disk
  python run.py --cfg job                                    every setting with its value, nothing is run
"""

MORE = """\
A setting with brackets, commas or spaces needs quotes inside quotes, as above. `-m` sweeps over comma lists.
Results: outputs/<date>/<time>/ (report.html, metrics.json, tables, pictures). What is in there: docs/outputs.md.
In Python: from pipeline.run_dir import load_run. Cache: python -m pipeline.cache --help.
Jobs side by side (hydra/launcher=joblib), a search (hydra/sweeper=optuna), trackers: docs/sweeps.md.
Exit status: 0 done, 1 a run (or a job of a sweep) failed, 2 the call was wrong, 130 interrupted.
"""


def help_text(conf: Path) -> str:
    """The whole help; `conf` is the folder of the choices."""
    return "\n".join([HEAD, CALLS, _choices(conf), _settings(conf), MORE])


def _choices(conf: Path) -> str:
    lines = ["Choices (group=choice)"]
    for file in _files(conf):
        if not file.stem.startswith("_"):
            lines.append(f"  {file.parent.name + '=' + file.stem:<28} {_first_comment(file)}")
    return "\n".join(lines) + "\n"


def _settings(conf: Path) -> str:
    """The settings of each choice and the general ones, with the comments of their files."""
    lines = ["Settings (key=value) with their defaults"]
    for file in _files(conf):
        if file.parent.name == "analysis" or (file.parent.name == "experiment" and file.stem != "_common"):
            continue  # lists of stages are what `stages=` is for; an experiment chooses the settings of others
        only = "" if file.stem == "_common" else f" [{file.stem}]"
        for line in file.read_text(encoding="utf-8").splitlines():
            if line[:1].isalpha() and line.split(":")[0] not in ("defaults", "name", "source", "kind"):
                lines.append(_setting(f"{file.parent.name}.{line}", only))
    return "\n".join(lines + _general(conf / "config.yaml")) + "\n"


def _general(file: Path) -> list[str]:
    lines, section, part = [], "", ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("hydra:"):
            break
        if line[:1].isalpha():
            section = line.split(":")[0]
            if line.split("#")[0].strip() != f"{section}:":
                lines.append(_setting(line))
        elif line.strip()[:1].isalpha() and section != "defaults":
            if line[:3].isspace():  # inside a part of the section
                lines.append(_setting(f"{part}.{line.strip()}"))
            elif line.split("#")[0].strip().endswith(":"):
                part = f"{section}.{line.split(':')[0].strip()}"
            else:
                lines.append(_setting(f"{section}.{line.strip()}"))
    return lines


def _files(conf: Path) -> list[Path]:
    """Every choice, group by group, the user's own after the shipped ones."""
    groups = [place for place in sorted(conf.iterdir()) if place.is_dir() and place.name != "user"]
    return [
        file
        for group in groups
        for file in (*sorted(group.glob("*.yaml")), *sorted((conf / "user" / group.name).glob("*.yaml")))
    ]


def _setting(line: str, only: str = "") -> str:
    code, _, comment = line.partition("#")
    key, _, value = code.strip().partition(":")
    return f"  {key + '=' + value.strip():<34} {comment.strip()}{only}".rstrip()


def _first_comment(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    first = next((line for line in lines if not line.startswith("# @")), "")  # Hydra's own header stands first
    return first.lstrip("# ").strip() if first.startswith("#") else ""
