"""MLflow: a run of MLflow for each run, in a file of SQLite or on a server, with the report as an artifact."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipeline.run_dir import METRICS, RECORD, REPORT, Run
from pipeline.schema import Config
from pipeline.tracking.parts import epochs, name_of, settings_of

STATUS = {"complete": "FINISHED", "interrupted": "KILLED"}  # any other has failed
AT_ONCE = 100  # settings that a server takes at a time; ten times as many scores
LONGEST_KEY, LONGEST_VALUE = 250, 6000  # that it takes
WAITING = 120  # seconds for other jobs that log into the same file


def log(config: Config, run: Run) -> str:
    """Settings as parameters, scores as metrics, curves of a training by epoch, report and record as artifacts."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")  # what it has to say goes into run.log
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the run has ended: nobody waits for minutes
    from mlflow import MlflowClient

    outputs = Path(config.paths.outputs)
    uri = config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{outputs / 'mlflow.db'}"
    with _alone(uri):
        client = MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, config.tracking.experiment, uri, outputs)
        number = client.create_run(experiment, run_name=name_of(run)).info.run_id
        _values(client, number, run)
        for file in _files(run):
            client.log_artifact(number, str(file))
        client.set_terminated(number, STATUS.get(run.record["status"], "FAILED"))
    return f"experiment {config.tracking.experiment}, run {number}"


def _alone(uri: str) -> Any:
    """Jobs that end at once would make the tables of a new file twice."""
    file = uri.removeprefix("sqlite:///")
    if file == uri:
        return nullcontext()
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{file}.lock", timeout=WAITING)


def _experiment(client: Any, name: str, uri: str, outputs: Path) -> str:
    """Its id. Artifacts of a file lie beside the results; a server has a place of its own."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = (outputs / "mlartifacts" / name).as_uri() if uri.startswith("sqlite:") else None
    return str(client.create_experiment(name, artifact_location=place))


def _values(client: Any, number: str, run: Run) -> None:
    from mlflow.entities import Metric, Param, RunTag

    settings = allowed(settings_of(run))
    for some in _portions([Param(key, value[:LONGEST_VALUE]) for key, value in settings.items()], AT_ONCE):
        client.log_batch(number, params=some)
    scores = [Metric(key, value, 0, 0) for key, value in allowed(run.metrics).items()]
    scores += [Metric(key, value, 0, epoch) for key, epoch, value in epochs(run)]
    for some in _portions(scores, 10 * AT_ONCE):
        client.log_batch(number, metrics=some)
    tags = {"status": run.record["status"], "reason": run.record.get("reason")}
    client.log_batch(number, tags=[RunTag(key, str(value)[:LONGEST_VALUE]) for key, value in tags.items() if value])


def _files(run: Run) -> list[Path]:
    """Where something is hidden, the record, which hides nothing, stays at home."""
    hides = bool(run.config["report"]["hide"])
    names = (REPORT, METRICS) if hides else (REPORT, METRICS, RECORD)
    return [run.folder / name for name in names if (run.folder / name).is_file()]


def allowed(values: Mapping[str, Any]) -> dict[str, Any]:
    """With keys that MLflow takes: other characters (of class names) by their number, and no longer than it takes.

    >>> allowed({"between/a|b/mean": 1})
    {'between/a_7c_b/mean': 1}
    """
    spelled = {_spelled(key): value for key, value in values.items()}
    return {key: value for key, value in spelled.items() if len(key) <= LONGEST_KEY}


def _spelled(key: str) -> str:
    parts = [part.replace(".", "_2e_") if set(part) <= {"."} else part for part in key.split("/")]
    return "/".join(re.sub(r"[^\w\-. :]", lambda found: f"_{ord(found[0]):x}_", part) for part in parts)


def _portions(items: list[Any], size: int) -> Iterable[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
