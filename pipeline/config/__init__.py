"""From the command line to a checked `Config`: with the entry point and the sweep, all that knows Hydra and OmegaConf.

Everything here runs before any heavy import, so that a wrong call is answered at once.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline import schema
from pipeline.config.extras import not_installed
from pipeline.config.from_run import as_in_the_run
from pipeline.config.messages import explain
from pipeline.config.protocols import comparisons
from pipeline.config.word_rules import word_rules
from pipeline.errors import CallError, one_of
from pipeline.schema import CHOICES, Config, SweepJob
from pipeline.stages import NAMES
from pipeline.sweep_words import key_of, words_of_the_job

HOME = Path(__file__).resolve().parents[2]  # the folder of run.py
CONF = HOME / "conf"


def register() -> None:
    """Tell Hydra the schemas and OmegaConf the resolver that conf/ uses."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="_schema", node=Config)
    local = CONF / "local.yaml"
    store.store(name="_local", node=OmegaConf.load(local) if local.is_file() else {})
    store.store(group="analysis", name="_schema", node=schema.AnalysisSettings)
    for group, choices in CHOICES.items():
        for choice, settings in choices.items():
            store.store(group=group, name=f"_schema_{choice}", node=settings)
    _in_place_of_plugins(store)
    OmegaConf.register_new_resolver("at_home", lambda path: str(at_home(path)), replace=True)


def _in_place_of_plugins(store: Any) -> None:
    """conf/_hydra: what plugins of Hydra offer under the same names, with our values."""
    from hydra.core.plugins import Plugins

    Plugins.instance()  # they store their own when they are first looked for
    for file in sorted((CONF / "_hydra").rglob("*.yaml")):
        group = file.parent.relative_to(CONF / "_hydra").as_posix()
        store.store(group=f"hydra/{group}", name=file.stem, node=OmegaConf.load(file))


def at_home(path: str) -> Path:
    """A path of the `paths` section: relative ones start at the folder of run.py."""
    return HOME / Path(path).expanduser()


def read(composed: DictConfig) -> Config:
    """The checked config of one run. Raises CallError with every problem that was found."""
    for group, choices in CHOICES.items():
        if OmegaConf.get_type(composed, group) not in choices.values():
            raise CallError(f"{group}: not one of the choices: {', '.join(known_choices(group))}")
    try:
        if missing := sorted(OmegaConf.missing_keys(composed)):
            raise CallError(*(f"{key}: must be given, as in {key}=<value>" for key in missing))
        config: Config = OmegaConf.to_object(composed)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise CallError(explain(error)) from error
    if config.from_run is not None:
        config.from_run = _from_here(config.from_run)
        as_in_the_run(config, _named())
    problems = [*_unknown_keys(config), *_out_of_range(config, composed), *_no_paths(config), *_rules(config)]
    if problems:
        raise CallError(*problems)
    if "experiment" in config.stages:
        config.experiment.compared = comparisons(config, (CONF, CONF / "user"))
    _resolve_paths(config)
    if config.analysis.name == "redraw":
        _look_of_the_run(config)
    return config


def sweep_job() -> SweepJob | None:
    """The place of the present job in its sweep, None outside a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return None
    folder, number = Path(hydra.sweep.dir), int(hydra.sweep.subdir)
    return SweepJob(folder / str(number), number, words_of_the_job(folder, hydra.overrides.task))


def choices(composed: DictConfig) -> dict[str, Any]:
    """Which choice each group has, of a config that may be wrong otherwise."""
    return {group: {"name": OmegaConf.select(composed, f"{group}.name")} for group in CHOICES}


def known_choices(group: str) -> list[str]:
    """The names that a group offers, the user's own included."""
    places = [CONF / group, CONF / "user" / group]
    names = {file.stem for place in places if place.is_dir() for file in place.glob("*.yaml")}
    return sorted(name for name in names if not name.startswith("_"))


def _leaves(node: Any, prefix: str = "") -> list[tuple[str, Any, dict[str, Any]]]:
    """(dotted key, value, metadata) of every setting that is a value."""
    found: list[tuple[str, Any, dict[str, Any]]] = []
    for f in dataclasses.fields(node):
        value, key = getattr(node, f.name), prefix + f.name
        if dataclasses.is_dataclass(value):
            found += _leaves(value, f"{key}.")
        else:
            found.append((key, value, dict(f.metadata)))
    return found


def _unknown_keys(node: Any, prefix: str = "") -> list[str]:
    """Keys added with '+' pass the schema: OmegaConf leaves them on the object as attributes that are no field."""
    fields = [f.name for f in dataclasses.fields(node)]
    problems = [f"{prefix}{name}: no such setting{one_of(name, fields)}" for name in vars(node) if name not in fields]
    for name in fields:
        if dataclasses.is_dataclass(value := getattr(node, name)):
            problems += _unknown_keys(value, f"{prefix}{name}.")
    return problems


def _out_of_range(config: Config, composed: DictConfig) -> list[str]:
    problems = []
    for key, value, limits in _leaves(config):
        low, high = limits.get("low"), limits.get("high")
        if value is None or (low is None and high is None) or _from_elsewhere(composed, key):
            continue
        several = value if isinstance(value, list) else [value]
        if any((low is not None and not v >= low) or (high is not None and not v <= high) for v in several):
            allowed = f"at least {low}" if high is None else f"from {low} to {high}"
            problems.append(f"{key} = {value}: must be {allowed}")
    return problems


def _no_paths(config: Config) -> list[str]:
    """Where a path or several may be given, the schema takes anything."""
    problems = []
    for key, value, about in _leaves(config):
        several = value if isinstance(value, list) else [value]
        if about.get("path") and value is not None and not all(isinstance(path, str) for path in several):
            problems.append(f"{key} = {value}: must be a path, or a list of paths")
    return problems


def _from_elsewhere(composed: DictConfig, key: str) -> bool:
    """Whether the value is another setting's, as in `${seed}`: what is wrong with it is said there, once."""
    section, _, name = key.rpartition(".")
    node = OmegaConf.select(composed, section) if section else composed
    return name in node and bool(OmegaConf.is_interpolation(node, name))  # not there: from_run brought it


def _is_of_names(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(v, float) for v in value)


def _rules(config: Config) -> list[str]:
    """What a range cannot say."""
    problems = []
    for key, value, _ in _leaves(config):
        if _is_of_names(value) and len({str(v) for v in value}) < len(value) and key != "dataset.pairs":
            problems.append(f"{key} = [{', '.join(str(schema.plain(v)) for v in value)}]: names something twice")
    if config.analysis.name in _OF_FINISHED:
        return problems + _rules_of_finished(config)
    if config.run is not None:
        problems.append("run = ...: only analysis=redraw takes it; from_run=... builds on a finished run")
    if config.runs:
        problems.append("runs = ...: only analysis=compare takes it")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,2})?", config.device):
        problems.append(f"device = {config.device}: must be auto, cpu, cuda, cuda:<number> or mps")
    if not config.stages:
        problems.append("stages = []: name at least one stage")
    problems += [f"stages: no stage '{name}'{one_of(name, NAMES)}" for name in config.stages if name not in NAMES]
    if config.k_selection.k_min > config.k_selection.k_max:
        problems.append(
            f"k_selection.k_min = {config.k_selection.k_min}: is above k_selection.k_max = {config.k_selection.k_max}"
        )
    if isinstance(config.dataset, schema.FoldersDataset):
        problems += _folder_rules(config.dataset)
    if isinstance(config.dataset, schema.FilesDataset) and bool(config.dataset.files) == bool(config.dataset.list):
        both = "; both are given" if config.dataset.list else ""
        problems.append(f"dataset=files needs either dataset.files=[a.jpg,b.png] or dataset.list=<text file>{both}")
    if isinstance(config.dataset, schema.FoldersDataset | schema.FilesDataset):
        problems += _group_rules(config.dataset.group)
    problems += _template_rules(config.prompts.templates)
    problems += _braces_of_the_shell()
    problems += word_rules(config)
    problems += [*_tracking_rules(config.tracking), *_objective_rules(config.sweep.objective)]
    problems += [
        f"robustness.{name} = []: name at least one"
        for name in ("perturbations", "severities")
        if not getattr(config.robustness, name)
    ]
    if "tagging" in config.stages and config.tagging.index and (idle := [k for k in _named() if k.startswith("text")]):
        problems.append(f"{idle[0]}: has no effect with tagging.index, whose texts are taken")
    if isinstance(config.encoder, schema.PrecomputedEncoder) and config.encoder.text_path is None:
        idle = [name for name in ("text_names", "logit_scale") if getattr(config.encoder, name) is not None]
        problems += [f"encoder.{name}: has no effect without encoder.text_path" for name in idle]
    return problems


def _tracking_rules(tracking: schema.TrackingSettings) -> list[str]:
    problem = not_installed(f"tracking={schema.choice_of('tracking', schema.plain(tracking))}")
    if problem is not None:
        return [problem]
    uri = getattr(tracking, "uri", None)
    if uri is not None and "://" not in uri and uri != "databricks":
        return [f"tracking.uri = {uri}: must be like sqlite:////folder/mlflow.db or http://host:5000"]
    if uri is not None and re.match(r"[^/]*//[^/@]*:[^/@]*@", uri):
        return ["tracking.uri: holds a password, which would stand in run.json: it goes into MLFLOW_TRACKING_URI"]
    return []


def _objective_rules(objective: str | None) -> list[str]:
    from hydra.core.hydra_config import HydraConfig

    if objective is None or not HydraConfig.initialized():
        return []
    chosen = HydraConfig.get().runtime.choices.get("hydra/sweeper")
    return [] if chosen == "optuna" else ["sweep.objective: has no effect without hydra/sweeper=optuna"]


_OF_FINISHED = {
    "redraw": ("run", "run: analysis=redraw needs run=<folder of a finished run>"),
    "compare": ("runs", "runs: analysis=compare needs 'runs=[<folder of a finished run>,<another>]'"),
}
"""Analyses of finished runs: the setting that names these, and what to say where it does not."""


def _rules_of_finished(config: Config) -> list[str]:
    """Runs to look at, and nothing that would have to be computed."""
    name = config.analysis.name
    setting, needed = _OF_FINISHED[name]
    problems = [] if getattr(config, setting) else [needed]
    taken = ("analysis", setting, "plots", "report", "paths", "dry_run")
    idle = [key for key in _named() if key.split(".")[0] not in taken]
    return problems + [f"{key}: has no effect with analysis={name}, which computes nothing" for key in idle]


def _named() -> list[str]:
    """The keys that the call names."""
    from hydra.core.hydra_config import HydraConfig

    words = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return [key_of(word) for word in words]


def _look_of_the_run(config: Config) -> None:
    """Pictures that are drawn again look as they did, but for what the call names."""
    from pipeline.run_dir import load_run

    try:
        record = load_run(str(config.run)).record
    except CallError:  # there is no such run: redraw says so
        return
    first, last = (record.get("config") or {}).get("plots"), (record.get("redrawn") or {}).get("plots")
    before = schema.restored({"plots": {**(first or {}), **(last or {})}}).plots
    named = _named()
    for f in dataclasses.fields(config.plots):
        if f"plots.{f.name}" not in named and (value := getattr(before, f.name)) is not None:
            setattr(config.plots, f.name, value)


def _folder_rules(dataset: schema.FoldersDataset) -> list[str]:
    problems = []
    if (dataset.root is None) == (not dataset.pairs):
        problems.append(
            "dataset=folders needs either dataset.root=<folder> or dataset.pairs=[class,<folder>,class,<folder>]"
            + ("; both are given" if dataset.pairs else "")
        )
    if len(dataset.pairs) % 2:
        problems.append(
            f"dataset.pairs has {len(dataset.pairs)} entries: it takes class and folder in turn, so an even number"
        )
    if dataset.pairs and dataset.splits:
        problems.append("dataset.splits: has no effect with dataset.pairs")
    return problems


def _braces_of_the_shell() -> list[str]:
    """A shell makes several words of dataset.shards=/x/{0..9}.tar, of which Hydra would take the last."""
    counts = {key: _named().count(key) for key in ("dataset.shards", "dataset.path")}
    return [
        f"{key}: given {count} times; a pattern with {{...}} needs quotes inside quotes: '{key}=\"/x/{{0..9}}.tar\"'"
        for key, count in counts.items()
        if count > 1
    ]


def _template_rules(templates: list[str]) -> list[str]:
    problems = [
        f"prompts.templates: '{template}' must hold {{}}, the place of the class, exactly once"
        for template in templates
        if template.count("{}") != 1
    ]
    return problems if templates else ["prompts.templates = []: name at least one, as in 'a photo of {}'"]


def _group_rules(group: str | None) -> list[str]:
    try:
        re.compile(group or "")
    except re.error as error:
        return [f"dataset.group = {group}: not a regular expression: {error}"]
    return []


def _resolve_paths(config: Config) -> None:
    """Inputs start where the command was typed, `paths` at the folder of run.py. After this all are absolute."""
    for f in dataclasses.fields(config.paths):
        setattr(config.paths, f.name, str(at_home(getattr(config.paths, f.name))))
    if config.run is not None:
        config.run = _from_here(config.run)
    config.runs = [_from_here(run) for run in config.runs]
    for section in (getattr(config, f.name) for f in dataclasses.fields(config) if f.name != "paths"):
        for f in dataclasses.fields(section) if dataclasses.is_dataclass(section) else ():
            value = getattr(section, f.name)
            if f.metadata.get("path") and value is not None:
                several = isinstance(value, list)
                setattr(section, f.name, [_from_here(v) for v in value] if several else _from_here(value))
    if isinstance(config.dataset, schema.HuggingfaceDataset) and Path(config.dataset.path).expanduser().exists():
        config.dataset.path = _from_here(config.dataset.path)  # else it is one of the hub
    if isinstance(config.dataset, schema.FoldersDataset):
        pairs = config.dataset.pairs
        config.dataset.pairs = [_from_here(p) if i % 2 else p for i, p in enumerate(pairs)]
    if isinstance(config.encoder, schema.PrecomputedEncoder) and (names := config.encoder.text_names):
        config.encoder.text_names = _from_here(names) if names.lower().endswith(".txt") else names


def _from_here(path: str) -> str:
    return os.path.normpath(Path.cwd() / Path(path).expanduser())


def typed_command() -> str:
    """The call as it can be typed again."""
    import shlex

    return shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])
