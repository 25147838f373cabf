"""What a tracker gets of a run, and that no run is lost by one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import runner, schema
from pipeline.config import extras
from pipeline.run_dir import Run
from pipeline.tracking import tensorboard
from pipeline.tracking.mlflow import allowed
from tests.test_runner import config, only_run  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore")  # of the trackers' own libraries


def tracked(config: schema.Config, tracking: schema.TrackingSettings) -> Run:  # noqa: F811
    assert runner.run(replace(config, tracking=tracking), "python run.py") == 0
    run: Run = only_run(config)
    assert run.record["status"] == "complete"
    return run


def mlflow(uri: str | None = None) -> schema.MlflowTracking:
    return schema.MlflowTracking(name="mlflow", uri=uri, experiment="ours")


def test_tensorboard_has_settings_scores_and_pictures(config: schema.Config) -> None:  # noqa: F811
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tracked(config, schema.TensorboardTracking(name="tensorboard", dir=None))
    folder = Path(config.paths.outputs) / "tensorboard" / run.name
    assert run.record["tracked"] == str(folder)
    events = EventAccumulator(str(folder))
    events.Reload()
    found = {key: events.Scalars(key)[0].value for key in events.Tags()["scalars"]}
    assert found == pytest.approx(run.metrics, rel=1e-5)
    assert set(events.Tags()["images"]) == {f"{stage}/{name}" for stage, name, _ in run.pictures}
    assert "_hparams_/session_start_info" in events.summary_metadata


@pytest.mark.slow
def test_mlflow_has_settings_scores_and_the_report(
    config: schema.Config,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = tracked(config, mlflow())
    client = MlflowClient(tracking_uri=f"sqlite:///{config.paths.outputs}/mlflow.db")
    (logged,) = client.search_runs([client.get_experiment_by_name("ours").experiment_id])
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics == pytest.approx(allowed(run.metrics))
    assert logged.data.params["class_distances.centered"] == "true"
    assert logged.data.params["dataset.root"] == config.dataset.root
    names = {file.path for file in client.list_artifacts(logged.info.run_id)}
    assert names == {"report.html", "metrics.json", "run.json"}
    assert logged.info.run_id in run.record["tracked"]


def test_a_tracker_that_fails_costs_the_run_nothing(
    config: schema.Config,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*arguments: Any) -> str:
        raise ConnectionError(111, "Connection refused")

    monkeypatch.setattr(tensorboard, "log", refuse)
    run = tracked(config, schema.TensorboardTracking(name="tensorboard", dir=None))
    said = "tracking=tensorboard: Connection refused"
    assert run.record["warnings"][-1] == said
    assert f"warning: {said}" in capsys.readouterr().err
    assert "tracked" not in run.record


def test_what_is_hidden_leaves_the_house_by_no_tracker(
    config: schema.Config,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: dict[str, Any] = {"files": [], "params": {}}

    class Client:
        """As much of MLflow as is called, keeping what it gets."""

        def __init__(self, tracking_uri: str) -> None:
            sent["uri"] = tracking_uri

        def get_experiment_by_name(self, name: str) -> None:
            return None

        def create_experiment(self, name: str, artifact_location: str | None) -> str:
            assert artifact_location is None, "a server has a place of its own"
            return "7"

        def create_run(self, experiment: str, run_name: str) -> Any:
            return type("Made", (), {"info": type("Info", (), {"run_id": "n"})})

        def log_batch(self, number: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
            assert len(params) <= 100
            sent["params"] |= dict(params)

        def log_artifact(self, number: str, file: str) -> None:
            sent["files"].append(Path(file).name)

        def set_terminated(self, number: str, status: str) -> None:
            sent["status"] = status

    entities = type(sys)("mlflow.entities")
    entities.Metric = entities.Param = entities.RunTag = lambda *values: values[:2]  # type: ignore[attr-defined]
    module = type(sys)("mlflow")
    module.MlflowClient = Client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    hide = schema.ReportSettings(hide=[schema.Hidden.path])
    run = tracked(replace(config, report=hide), mlflow("http://127.0.0.1:9"))
    assert sent["uri"] == "http://127.0.0.1:9"
    assert sent["files"] == ["report.html", "metrics.json"]
    assert sent["status"] == "FINISHED"
    assert config.dataset.root not in str(sent["params"])
    assert sent["params"]["dataset.root"] == "(hidden)"
    assert run.record["tracked"] == "experiment ours, run n"


def test_class_names_become_keys_that_mlflow_takes() -> None:
    keys = ["class_distances/within/Bäume (2)/mean", "x/../y", "a" * 300]
    assert list(allowed(dict.fromkeys(keys, 1.0))) == ["class_distances/within/Bäume _28_2_29_/mean", "x/_2e__2e_/y"]


def test_what_is_not_installed_is_said_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(extras.not_installed(word) is None for word in extras.EXTRAS), "see requirements-dev.txt"
    monkeypatch.setattr(extras, "_is_there", lambda module: False)
    assert extras.not_installed("tracking=mlflow") == (
        "tracking=mlflow: not installed: pip install -r requirements-tracking.txt"
    )
    assert extras.not_installed("hydra/launcher=joblib") == (
        "hydra/launcher=joblib: not installed: pip install -r requirements-sweeps.txt"
    )
    assert extras.not_installed("hydra/launcher=basic") is None
    monkeypatch.undo()
    assert not extras._is_there("hydra_plugins.hydra_nothing_launcher")
    assert not extras._is_there("no_such.module")
