"""Logging of recorded runs to an MLflow server: an MLflow run for each, and a nested one for each candidate.

The pipeline is an experiment of MLflow. MLflow reads credentials from its own environment variables.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from knet.base import run_files, schema_names
from knet.base.digests import text_digest
from knet.base.errors import UserError
from knet.base.files import read_json
from knet.base.settings import merge
from knet.runs.record import CandidateRecord, RunRecord, to_json

_ARTIFACTS = (
    *(run_files.PAGE, run_files.DATA_PAGE),
    *(run_files.RESULTS, run_files.DECISION, run_files.GATE),
)
# Settings that change no result, or that are logged with each candidate.
_NOT_LOGGED = {"name", "output", "metadata", "tracking", "beam", "kubeflow", "candidates"}
_RUN_ID: Final = "knet.run_id"  # tag
_RESULTS: Final = "knet.results_sha256"  # tag: runs with equal results are repeats from the cache
_PARENT: Final = "mlflow.parentRunId"  # MLflow's tag of nested runs
# Time limit of a request in seconds, and number of its retries, as MLflow's environment variables.
_CHECK_LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
_LOG_LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
_MAX_PARAMS, _MAX_METRICS = 100, 1000  # in a request
_MAX_TEXT = 5000  # characters of a tag


@dataclass(frozen=True)
class LoggedRun:
    """A run on an MLflow server.

    Attributes:
        url: page of the run.
        new: whether this call logged it.
    """

    url: str
    new: bool


def check_server(url: str) -> None:
    """Check that an MLflow server answers within seconds, and accepts the credentials.

    Args:
        url: of the server.

    Raises:
        UserError: MLflow is not installed, or the server cannot be used.
    """
    remedy = "start the server, correct the URL, or set tracking.mlflow=null"
    with _connect(url, _CHECK_LIMITS, remedy=remedy) as client:
        client.search_experiments(max_results=1)


def log_run(record: RunRecord, folder: Path, url: str) -> LoggedRun:
    """Log a run, unless the server has it, or has a run whose results this one got from the cache.

    A run that was logged in part is deleted from the server and logged again.

    Args:
        record: of the run.
        folder: of the run, with the report.
        url: of the server.

    Raises:
        UserError: MLflow is not installed, or the server cannot be used.
    """
    remedy = f"log the run later with knet track {record.run_id}"
    limits = {name: os.environ.get(name, value) for name, value in _LOG_LIMITS.items()}
    with _connect(url, limits, remedy=remedy) as client:
        experiment_id = _experiment_id(client, record.name)
        logged = _find(client, experiment_id, record)
        run_id = logged or _log(client, experiment_id, record, folder)
        return LoggedRun(f"{url}/#/experiments/{experiment_id}/runs/{run_id}", new=logged is None)


def _experiment_id(client: Any, name: str) -> str:
    """Return the id of an experiment; a new one is shown by MLflow as one of models, not of agents."""
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    return str(client.create_experiment(name, tags={"mlflow.experimentKind": "custom_model_development"}))


def _find(client: Any, experiment_id: str, record: RunRecord) -> str | None:
    """Return the id of the MLflow run that holds the results of a run, and delete incomplete ones."""
    for run in _search(client, experiment_id, _RUN_ID, record.run_id):
        if run.info.status != "RUNNING":
            return str(run.info.run_id)
        for part in (*_search(client, experiment_id, _PARENT, run.info.run_id), run):
            client.delete_run(part.info.run_id)
    if all(node.state == "cached" for node in record.nodes):
        for run in _search(client, experiment_id, _RESULTS, _results_digest(record)):
            if not _remarks(record) or _remarks(record).items() <= run.data.tags.items():
                return str(run.info.run_id)
    return None


def _remarks(record: RunRecord) -> dict[str, str]:
    """Return the note and the tags of the user as tags of MLflow; the note is the run's description."""
    return _tags({"mlflow.note.content": record.note, "knet.tags": ", ".join(record.tags)})


def _search(client: Any, experiment_id: str, tag: str, value: str) -> list[Any]:
    return list(client.search_runs([experiment_id], filter_string=f"tags.`{tag}` = '{value}'"))


def _results_digest(record: RunRecord) -> str:
    results = {
        "fingerprint": record.data.fingerprint,
        "candidates": {name: asdict(candidate) for name, candidate in record.candidates.items()},
        "failures": record.failures,
        "outcome": [record.winner, record.pushed_version, record.refusals, record.error],
    }
    return text_digest(to_json(results))


def _log(client: Any, experiment_id: str, record: RunRecord, folder: Path) -> str:
    """Log a run, and return its id in MLflow; its status is RUNNING until everything is logged."""
    start = round(datetime.fromisoformat(record.started).timestamp() * 1000)
    parent: str = client.create_run(
        experiment_id, start_time=start, run_name=record.run_id, tags=_tags(_run_tags(record))
    ).info.run_id
    settings = {name: value for name, value in record.config.items() if name not in _NOT_LOGGED}
    end = start + round(sum(node.seconds for node in record.nodes) * 1000)
    winner = record.candidates.get(record.winner) if record.winner else None
    metrics = _interval_metrics(winner, schema_names.TEST) if winner else {}
    _log_values(client, parent, dict(_flat(settings)), [(*metric, 0) for metric in metrics.items()], at=end)
    for name in _ARTIFACTS:
        if (folder / name).is_file():
            client.log_artifact(parent, str(folder / name))
    for name in dict.fromkeys((*record.candidates, *record.failures)):
        _log_candidate(client, experiment_id, record, folder, name, parent=parent, start=start)
    client.set_terminated(parent, status="FAILED" if record.error else "FINISHED", end_time=end)
    return parent


def _run_tags(record: RunRecord) -> dict[str, object]:
    info = next((candidate.info for candidate in record.candidates.values()), None)
    winner = record.candidates.get(record.winner) if record.winner else None
    return {
        _RUN_ID: record.run_id,
        _RESULTS: _results_digest(record),
        "mlflow.source.name": "knet run",
        "mlflow.source.git.commit": info and info.commit,
        **_remarks(record),
        "knet.data_sha256": record.data.fingerprint,
        "knet.split_sha256": record.data.split_sha256,
        "knet.synthetic_data": record.data.synthetic,
        "knet.winner": record.winner,
        "knet.model_sha256": winner and winner.model_sha256,
        "knet.pushed_version": record.pushed_version,
        "knet.refusals": "; ".join(record.refusals),
        "knet.error": record.error,
    }


def _log_candidate(
    client: Any,
    experiment_id: str,
    record: RunRecord,
    folder: Path,
    name: str,
    *,
    parent: str,
    start: int,
) -> None:
    """Log a candidate as a run below that of the pipeline.

    Args:
        client: MLflow's client.
        experiment_id: of the pipeline.
        record: of the run.
        folder: of the run, with the training histories.
        name: of the candidate, which may have failed before it was trained.
        parent: MLflow's id of the run.
        start: of the run, in milliseconds.
    """
    candidate = record.candidates.get(name)
    is_winner = name == record.winner
    tags: dict[str, object] = {
        _PARENT: parent,
        "knet.candidate": name,
        "knet.winner": is_winner,
        "knet.pushed_version": is_winner and record.pushed_version,
        "knet.error": record.failures.get(name),
    }
    if candidate:
        info = candidate.info
        tags |= {
            "mlflow.source.git.commit": info.commit,
            "knet.model_sha256": candidate.model_sha256,
            "knet.examples_sha256": info.examples_sha256,
            "knet.settings_sha256": info.candidate_sha256,
            "knet.code_sha256": info.code_sha256,
            "knet.split_unit": info.split_unit,
            "knet.device": info.device,
        }
    run_id = client.create_run(experiment_id, start_time=start, run_name=name, tags=_tags(tags)).info.run_id
    end = start
    if candidate:
        end += round(candidate.info.seconds * 1000)
        params = _candidate_params(record.config, name, candidate)
        curves = _curves(folder / run_files.TRAINING / f"{name}.json")
        metrics = [(*metric, 0) for metric in _candidate_metrics(candidate).items()]
        _log_values(client, run_id, params, [*metrics, *curves], at=end)
    status = "FAILED" if name in record.failures else "FINISHED"
    client.set_terminated(run_id, status=status, end_time=end)


def _candidate_params(config: Mapping[str, Any], name: str, candidate: CandidateRecord) -> dict[str, str]:
    """Return the hyperparameters of a candidate: common settings, its own, and those of the search."""
    info = candidate.info
    params: dict[str, Any] = {
        "backbone": info.backbone or info.candidate,
        "weights": info.weights,
        "seed": info.seed,
    }
    own = config["candidates"].get(name) or {}
    for section in ("image", "head", "training"):
        fields = merge(config.get(section) or {}, own.get(section) or {})
        params[section] = fields | {key: value for key, value in info.tuned.items() if key in fields}
    return dict(_flat(params))


def _candidate_metrics(candidate: CandidateRecord) -> dict[str, float]:
    info = candidate.info
    metrics: dict[str, Any] = {
        "model_parameters": info.parameters,
        "model_flops": info.flops,
        "train_images": info.train_images,
        "epochs": info.epochs,
        "training_seconds": info.seconds,
        "temperature": info.calibration.temperature,
        "threshold": info.calibration.threshold,
    }
    for split in candidate.metrics:
        metrics |= _interval_metrics(candidate, split)
    return metrics


def _interval_metrics(candidate: CandidateRecord, split: str) -> dict[str, float]:
    """Return the metrics of a split with their intervals, such as `test_roc_auc` and `test_roc_auc_low`."""
    intervals = candidate.intervals.get(split, {})
    found = {}
    for name, value in candidate.metrics.get(split, {}).items():
        found[f"{split}_{name}"] = value
        if name in intervals:
            found[f"{split}_{name}_low"], found[f"{split}_{name}_high"] = intervals[name]
    return found


def _curves(history: Path) -> Iterator[tuple[str, float, int]]:
    """Yield the metrics of each epoch under the names that Keras gives them, with values and epochs."""
    tree = read_json(history, remedy="run the pipeline again") or {"epochs": ()}
    for row in tree["epochs"]:
        for name, value in row.items():
            if name != "epoch":
                yield "epoch_seconds" if name == "seconds" else name, value, int(row["epoch"])


def _log_values(
    client: Any,
    run_id: str,
    params: Mapping[str, str],
    metrics: Sequence[tuple[str, float | None, int]],
    *,
    at: int,
) -> None:
    """Log parameters and metrics.

    Args:
        client: MLflow's client.
        run_id: MLflow's id of the run.
        params: values by name.
        metrics: name, value and epoch of each; undefined ones are left out.
        at: time of the metrics in milliseconds.
    """
    from mlflow.entities import Metric, Param

    pairs = [Param(name, value) for name, value in params.items()]
    for index in range(0, len(pairs), _MAX_PARAMS):
        client.log_batch(run_id, params=pairs[index : index + _MAX_PARAMS])
    values = [
        Metric(name, value, at, step)
        for name, value, step in metrics
        if value is not None and math.isfinite(value)
    ]
    for index in range(0, len(values), _MAX_METRICS):
        client.log_batch(run_id, metrics=values[index : index + _MAX_METRICS])


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of a tree as text, by their paths."""
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str)


def _tags(values: Mapping[str, object]) -> dict[str, str]:
    """Return tags as text, without those that are empty or false."""
    return {
        name: ("true" if value is True else str(value))[:_MAX_TEXT] for name, value in values.items() if value
    }


@contextmanager
def _connect(url: str, limits: Mapping[str, str], *, remedy: str) -> Iterator[Any]:
    """Yield MLflow's client, whose errors are raised as UserError.

    Args:
        url: of the server.
        limits: values of MLflow's environment variables.
        remedy: end of the error message.
    """
    variables = {**_QUIET, **limits}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        try:
            yield MlflowClient(tracking_uri=url)
        except (MlflowException, OSError) as error:
            raise UserError(f"tracking.mlflow: MLflow at {url}: {_reason(error)}; {remedy}") from None
    except ModuleNotFoundError as error:
        raise UserError(
            f"tracking.mlflow needs {error.name}: install the extra mlflow of breakhis-knet (pip install "
            "'.[mlflow]' in a checkout of the repository)"
        ) from None
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _reason(error: BaseException) -> str:
    """Return the error of the connection that caused another, or that one, in one line."""
    found: BaseException | None = error
    while found and not (isinstance(found, OSError) and type(found).__module__ in _SYSTEM):
        found = found.__cause__ or found.__context__
    text = getattr(found, "strerror", None) or str(found or error)
    return " ".join(text.split())[:_MAX_REASON]


_SYSTEM = ("builtins", "socket", "ssl")  # modules of errors that are not a library's
_MAX_REASON = 300  # characters
