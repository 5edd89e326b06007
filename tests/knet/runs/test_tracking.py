"""Runs on a real MLflow server: parameters, metrics, tags and files of a run and its candidates."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from knet.base import run_files
from knet.base.errors import UserError
from knet.runs import tracking
from knet.runs.record import NodeRecord, RunRecord
from knet.runs.registry import RunRegistry
from knet.runs.tracking import check_server, log_run
from knet.runs.workspace import Workspace
from pipeline.commands.main import cli
from pipeline.config.load import load_config

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run: its page, and the history of a candidate."""
    (tmp_path / run_files.PAGE).write_text("<p>a report</p>", "utf-8")
    history = tmp_path / run_files.TRAINING / "mobilenet.json"
    history.parent.mkdir()
    rows = [
        {"epoch": 1, "seconds": 4.0, "loss": 0.75, "val_loss": 0.875},
        {"epoch": 2, "seconds": 3.0, "loss": 0.5, "val_loss": float("nan")},
    ]
    history.write_text(json.dumps({"epochs": rows}), "utf-8")
    return tmp_path


@pytest.fixture
def record(make_record: Callable[..., RunRecord], request: pytest.FixtureRequest) -> RunRecord:
    """A record whose pipeline is named after the test."""
    made = make_record(name=request.node.name[:40].replace("_", "-"), run_id="20240131-120000-000000")
    first = replace(made.candidates["mobilenet"], model_sha256="ab" * 32)
    first.info.tuned["learning_rate"] = 0.03125
    return replace(made, candidates={**made.candidates, "mobilenet": first})


@pytest.fixture
def client(mlflow_server: str) -> MlflowClient:
    return MlflowClient(tracking_uri=mlflow_server)


def runs(client: MlflowClient, record: RunRecord) -> dict[str, list[Any]]:
    """The MLflow runs of a pipeline by name."""
    experiment = client.get_experiment_by_name(record.name)
    found: dict[str, list[Any]] = {}
    for run in client.search_runs([experiment.experiment_id]):
        found.setdefault(run.info.run_name, []).append(run)
    return found


def test_log_run_logs_the_run(
    mlflow_server: str, client: MlflowClient, record: RunRecord, folder: Path
) -> None:
    record = replace(record, note="a second try", tags=("baseline", "night"))
    logged = log_run(record, folder, mlflow_server)
    (run,) = runs(client, record)[record.run_id]
    assert logged.new and logged.url.endswith(run.info.run_id)
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (1706702400000, 1706702412340)
    params = run.data.params
    assert params["training.epochs"] == "2" and params["data.classes"] == '["benign", "malignant"]'
    assert not [name for name in params if name.startswith(("kubeflow", "tracking", "output"))]
    metrics = {name: run.data.metrics[f"test_roc_auc{name}"] for name in ("", "_low", "_high")}
    assert metrics == {"": 0.75, "_low": 0.25, "_high": 0.95}
    tags = run.data.tags
    assert tags["mlflow.note.content"] == "a second try" and tags["knet.tags"] == "baseline, night"
    assert tags["knet.winner"] == "mobilenet" and tags["knet.pushed_version"] == record.pushed_version
    assert tags["knet.model_sha256"] == "ab" * 32
    assert tags["knet.data_sha256"] == record.data.fingerprint
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == [run_files.PAGE]
    page = client.download_artifacts(run.info.run_id, run_files.PAGE)
    assert Path(page).read_text("utf-8") == "<p>a report</p>"


def test_log_run_logs_each_candidate_below_the_run(
    mlflow_server: str, client: MlflowClient, record: RunRecord, folder: Path
) -> None:
    record = replace(record, failures={"vgg16": "Evaluator-vgg16: no memory", "resnet50": "Trainer: no file"})
    log_run(record, folder, mlflow_server)
    found = runs(client, record)
    parent, winner, failed, untrained = (
        found[name][0] for name in (record.run_id, "mobilenet", "vgg16", "resnet50")
    )
    assert {run.data.tags["mlflow.parentRunId"] for run in (winner, failed, untrained)} == {
        parent.info.run_id
    }
    params, metrics, tags = winner.data.params, winner.data.metrics, winner.data.tags
    assert params["backbone"] == "mobilenet" and params["weights"] == "imagenet"
    assert params["training.learning_rate"] == "0.03125" != parent.data.params["training.learning_rate"]
    assert (metrics["validation_accuracy"], metrics["validation_accuracy_low"]) == (0.875, 0.25)
    assert metrics["test_roc_auc_high"] == 0.95
    assert tags["knet.winner"] == "true" and tags["knet.pushed_version"] == record.pushed_version
    assert tags["knet.model_sha256"] == "ab" * 32
    curve = client.get_metric_history(winner.info.run_id, "loss")
    assert [(point.step, point.value) for point in curve] == [(1, 0.75), (2, 0.5)]
    assert len(client.get_metric_history(winner.info.run_id, "val_loss")) == 1  # the second is undefined
    assert (failed.info.status, failed.data.tags["knet.error"]) == ("FAILED", "Evaluator-vgg16: no memory")
    assert failed.data.metrics["test_roc_auc"] == 0.75 and "knet.winner" not in failed.data.tags
    assert (untrained.info.status, untrained.data.params) == ("FAILED", {})


def test_log_run_logs_a_failed_run(
    mlflow_server: str, client: MlflowClient, record: RunRecord, tmp_path: Path
) -> None:
    record = replace(
        record, candidates={}, winner=None, pushed_version=None, error="Transform: no space left"
    )
    log_run(record, tmp_path, mlflow_server)
    ((run,),) = runs(client, record).values()
    assert (run.info.status, run.data.tags["knet.error"]) == ("FAILED", "Transform: no space left")


def test_log_run_logs_no_run_twice(
    mlflow_server: str, client: MlflowClient, record: RunRecord, folder: Path
) -> None:
    record = replace(record, note="a second try")
    first = log_run(record, folder, mlflow_server)
    same = replace(record, run_id="20240201-120000-000000", nodes=(NodeRecord("Pusher", "cached", 0.0),))
    for again in (record, same, replace(same, note="")):
        assert log_run(again, folder, mlflow_server) == replace(first, new=False)
    assert {name: len(found) for name, found in runs(client, record).items()} == {
        record.run_id: 1,
        "mobilenet": 1,
        "vgg16": 1,
    }
    trained = replace(same, run_id="20240202-120000-000000", nodes=(NodeRecord("Pusher", "done", 1.0),))
    marked = replace(same, run_id="20240203-120000-000000", tags=("look",))
    for other in (trained, marked):
        assert log_run(other, folder, mlflow_server).new


def test_log_run_replaces_a_run_that_was_logged_in_part(
    mlflow_server: str,
    client: MlflowClient,
    record: RunRecord,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_artifact", _fail)
        with pytest.raises(UserError, match=f"the disk is full; .* knet track {record.run_id}"):
            log_run(record, folder, mlflow_server)
    assert [run.info.status for run in runs(client, record)[record.run_id]] == ["RUNNING"]
    assert log_run(record, folder, mlflow_server).new
    assert {name: [run.info.status for run in found] for name, found in runs(client, record).items()} == {
        record.run_id: ["FINISHED"],
        "mobilenet": ["FINISHED"],
        "vgg16": ["FINISHED"],
    }


def test_track_logs_the_last_run(mlflow_server: str, record: RunRecord, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    RunRegistry(workspace.registry).record(record)
    command = ["track", "--mlflow", f"{mlflow_server}/", "--output", str(tmp_path)]
    first, again = (CliRunner().invoke(cli, command, catch_exceptions=False).output for _ in range(2))
    assert first.startswith(f"mlflow: {mlflow_server}/#/experiments/")
    assert again == first.replace("\n", " (logged already)\n")


def _fail(*_: Any) -> None:
    raise MlflowException("the disk is full")


def test_check_server_accepts_a_server(mlflow_server: str) -> None:
    check_server(mlflow_server)


@pytest.mark.parametrize("listening", [True, False])
def test_check_server_fails_soon_without_an_answer(listening: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tracking._CHECK_LIMITS, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        if listening:
            held.listen()
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        started, before = time.monotonic(), dict(os.environ)
        reason = "timed out" if listening else "Connection refused"
        with pytest.raises(UserError, match=f"^tracking.mlflow: MLflow at {url}: {reason}; start the server"):
            check_server(url)
        assert time.monotonic() - started < 15
        assert dict(os.environ) == before


def test_tracking_without_mlflow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(UserError, match="install the extra mlflow"):
        check_server("http://127.0.0.1:5000")


def test_mlflow_sends_no_telemetry(mlflow_server: str) -> None:
    program = (
        f"from knet.runs.tracking import check_server; check_server({mlflow_server!r}); "
        "from mlflow.telemetry.client import get_telemetry_client; print(get_telemetry_client())"
    )
    # MLflow sends none from CI and from tests, by these variables.
    environment = {
        name: text
        for name, text in os.environ.items()
        if name not in ("CI", "MLFLOW_DISABLE_TELEMETRY") and not name.startswith("PYTEST")
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"


@pytest.mark.parametrize(
    "url",
    ["http://knet:hidden@localhost:5000", "http://hidden@localhost", "http://localhost/?token=hidden"],
)
def test_url_with_credentials_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UserError, match="tracking.mlflow: .*MLFLOW_TRACKING_PASSWORD") as caught:
        load_config("demo", [f"tracking.mlflow={url}"])
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite:///runs.db", "localhost:5000", "http://", "http://localhost:99999"])
def test_url_of_no_server_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="tracking.mlflow: .*such as http://localhost:5000"):
        load_config("demo", [f"tracking.mlflow={url}"])
