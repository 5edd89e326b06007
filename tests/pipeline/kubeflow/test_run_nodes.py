"""RunStart reads data and registry; RunReport and RunEnd record the run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx.types import standard_artifacts

import schemas
from knet.base.errors import UserError
from knet.data.sample_data import write_sample_data
from knet.report.queries import find_run
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace
from pipeline.config.load import load_config
from pipeline.kubeflow import run_nodes
from pipeline.kubeflow.candidate_failures import (
    CandidateFailure,
    candidate_nodes,
    last_failures,
    record_failure,
    retry_output,
    save_for_retry,
)
from pipeline.kubeflow.notifications import RunSummary
from pipeline.kubeflow.run_nodes import ContainerNode, run_node
from pipeline.kubeflow.run_state import log_failure_and_exit, read_failures, read_run_context
from pipeline.runners.lifecycle import RunOutcome


@pytest.fixture
def location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the registry, in the environment of a container."""
    monkeypatch.setenv("KFP_RUN_ID", "run-1")
    monkeypatch.setenv("KNET_NODE", "DataGate")
    monkeypatch.setenv("KNET_REGISTRY", str(tmp_path / "memory"))
    return tmp_path / "memory"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_data(
        tmp_path_factory.mktemp("images") / "data", patients=12, images_per_magnification=1, seed=0
    )


def _start(
    location: Path,
    images: Path,
    folder: Path,
    *settings: str,
    schema: Path = schemas.BREAKHIS,
    **given: Any,
) -> dict[str, str]:
    usual = ["tuning=null", "data.split.test_share=0.25", "data_gate.drift=true"]
    config = load_config("demo", [*usual, *settings, f"kubeflow.schema_file={schema}"])
    config = config.with_slices(["magnification", "subtype"])
    values = {"data_source": str(images), "data_root": "", "registry": str(location), "seed": 0, "epochs": 3}
    values |= {"cache": True, "note": "", "tags": []}
    values |= {"config": config.model_dump_json(), "graph": "0" * 64}
    names = [
        "fingerprint",
        "split_sha256",
        "span",
        "synthetic_data",
        "previous_statistics",
        "previous_digest",
    ]
    names += ["baseline", "baseline_digest", "baseline_version", "cache_generation", "schema_digest"]
    names += [f"{kind}_{name}" for name in config.candidates for kind in ("trials", "trials_digest")]
    names += map(retry_output, candidate_nodes(config))
    outputs = {name: {"outputFile": str(folder / name)} for name in names}
    message = {"inputs": {"parameterValues": {**values, **given}}, "outputs": {"parameters": outputs}}
    run_node(run_nodes.run_start, ["--executor_input", json.dumps(message)])
    return {name: (folder / name).read_text("utf-8") for name in names}


@pytest.mark.slow
def test_run_start_outputs_data_and_prior_state(location: Path, images: Path, tmp_path: Path) -> None:
    first = _start(location, images, tmp_path / "first")
    assert len(first["fingerprint"]) == 64 and first["previous_digest"] == first["baseline"] == ""
    assert (first["span"], first["synthetic_data"]) == ("1", "true")
    (tmp_path / "statistics").mkdir()
    (tmp_path / "statistics" / "FeatureStats.pb").write_bytes(b"")
    stored = RunRegistry(location / "registry").store_statistics(
        tmp_path / "statistics", run_id="a", schema=Path("s.pbtxt")
    )
    second = _start(location, images, tmp_path / "second")
    assert second["previous_digest"] == stored.digest and second["previous_statistics"] == str(stored.folder)
    assert {value for name, value in second.items() if name.startswith("retry_")} == {""}
    assert {name: second[name] for name in ("fingerprint", "span")} == {
        name: first[name] for name in ("fingerprint", "span")
    }


def test_run_start_outputs_the_digest_of_the_schema_in_the_container(
    location: Path, images: Path, tmp_path: Path
) -> None:
    schema, digests = tmp_path / "schema.pbtxt", []
    for number, text in enumerate(("a", "b", "a")):
        schema.write_text(text, "utf-8")
        outputs = _start(location, images, tmp_path / str(number), schema=schema)
        context = read_run_context(location)
        assert context
        digests.append((outputs["schema_digest"], context.graph))
    assert digests[0][0] == hashlib.sha256(b"a").hexdigest() and digests[0] == digests[2]
    assert digests[0][0] != digests[1][0] and digests[0][1] != digests[1][1]


def test_run_start_without_schema_names_the_setting(
    location: Path, images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        _start(location, images, tmp_path / "first", schema=tmp_path / "none.pbtxt")
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: UserError: kubeflow.schema_file: cannot read {tmp_path}/none.pbtxt in ")


def test_run_start_without_cache_starts_a_generation(location: Path, images: Path, tmp_path: Path) -> None:
    first = _start(location, images, tmp_path / "first")
    fresh = _start(location, images, tmp_path / "fresh", cache=False)
    later = _start(location, images, tmp_path / "later")
    assert first["cache_generation"] == "" != fresh["cache_generation"] == later["cache_generation"]


def test_run_start_refuses_a_parameter_out_of_range(
    location: Path, images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _start(location, images, tmp_path / "first", epochs=0)
    assert ended.value.code == 1 and "training.epochs: Input should be greater than" in capfd.readouterr().err


def test_run_start_refuses_data_for_which_the_gate_must_refuse(
    location: Path, images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = ("gate.minimum={recall: 0.5}", "gate.min_patients=3")
    with pytest.raises(SystemExit):
        _start(location, images, tmp_path / "first", *gate)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "insufficient patients" in line]
    assert "the parameter confirmed" in line
    assert _start(location, images, tmp_path / "second", *gate, confirmed=True)["span"] == "1"
    assert "note: the gate must refuse every model" in capfd.readouterr().out


def _end_node(location: Path) -> ContainerNode:
    return ContainerNode({"inputs": {"parameterValues": {"registry": str(location)}}})


def test_run_end_records_the_failure(location: Path, images: Path, tmp_path: Path) -> None:
    _start(location, images, tmp_path / "first")
    with pytest.raises(SystemExit), log_failure_and_exit():
        raise UserError("the images drifted")
    assert [failure.node for failure in read_failures(location)] == ["DataGate"]

    run_nodes.run_end(_end_node(location))
    record, folder = find_run("last", Workspace(location))
    assert record.error == "DataGate: the images drifted" and record.user_error
    assert [(node.node, node.state) for node in record.nodes] == [("DataGate", "failed")]
    assert "the images drifted" in (folder / "report.html").read_text("utf-8")

    run_nodes.run_end(_end_node(location))  # a retry finds the record
    assert len(RunRegistry(location / "registry").runs()) == 1


def test_run_end_records_the_failure_of_run_start(
    location: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNET_NODE", "RunStart")
    with pytest.raises(SystemExit):
        _start(location, images, tmp_path / "first", data_source=str(tmp_path / "missing"))
    run_nodes.run_end(ContainerNode({"inputs": {"parameterValues": {"registry": str(location)}}}))
    record, folder = find_run("last", Workspace(location))
    assert record.error and record.error.startswith("RunStart: ") and record.user_error
    assert record.data.source == tmp_path / "missing"
    page = (folder / "report.html").read_text("utf-8")
    assert "The run ended before the data were read." in page and record.error.split(": ")[1] in page


@pytest.mark.parametrize("read", [True, False])
def test_record_has_the_note_and_tags_of_the_run(
    location: Path, images: Path, tmp_path: Path, read: bool
) -> None:
    source = images if read else tmp_path / "missing"
    with contextlib.nullcontext() if read else pytest.raises(SystemExit):
        _start(location, images, tmp_path / "a", data_source=str(source), note="new stain", tags=["night"])
    run_nodes.run_end(_end_node(location))
    record, _ = find_run("last", Workspace(location))
    assert (record.note, record.tags) == ("new stain", ("night",))


def test_run_end_without_context_writes_nothing(location: Path) -> None:
    run_nodes.run_end(_end_node(location))
    assert not location.exists()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[RunSummary]:
    """Return the summaries that RunEnd notifies of from now on."""
    summaries: list[RunSummary] = []
    monkeypatch.setattr(run_nodes, "notify", lambda summarize: summaries.append(summarize()))
    return summaries


def test_run_end_notifies_of_a_failure_without_context(location: Path, sent: list[RunSummary]) -> None:
    run_nodes.run_end(_end_node(location))
    assert [(summary.verdict, summary.reason) for summary in sent] == [
        ("failed", "the run failed before it began: see the log of RunStart")
    ]
    with pytest.raises(SystemExit), log_failure_and_exit():
        raise UserError("no such image")
    run_nodes.run_end(_end_node(location))
    assert sent[-1].reason == "the run failed before it began: DataGate: no such image"


def test_run_end_notifies_of_a_recorded_run(
    location: Path, images: Path, tmp_path: Path, sent: list[RunSummary], make_record: Callable[..., Any]
) -> None:
    _start(location, images, tmp_path / "first")
    context = read_run_context(location)
    assert context
    record = make_record(run_id=context.run_id, refusals=("too few patients",))
    RunRegistry(location / "registry").record(record)
    run_nodes.run_end(_end_node(location))
    (summary,) = sent
    assert (summary.run_id, summary.verdict) == (context.run_id, "not pushed")


def test_run_end_notifies_of_its_own_failure(
    location: Path, images: Path, tmp_path: Path, sent: list[RunSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("the volume is full")

    _start(location, images, tmp_path / "first")
    monkeypatch.setattr(run_nodes, "publish_run", fail)
    with pytest.raises(OSError):
        run_nodes.run_end(_end_node(location))
    assert [summary.reason for summary in sent] == ["RunEnd: the volume is full"]


def test_run_end_without_run_id_names_the_remedy(location: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KFP_RUN_ID")
    with pytest.raises(UserError, match="KFP_RUN_ID is not set: submit the whole file"):
        run_nodes.run_end(_end_node(location))


def test_parse_input_artifacts_returns_executions(location: Path, make_record: Callable[..., Any]) -> None:
    def held(uri: str) -> dict[str, Any]:
        return {"artifacts": [{"name": "1", "uri": uri, "metadata": {"seconds": 2.5}}]}

    artifacts = {
        "Trainer-vgg16--model": held("minio://bucket/knet/run-1/Trainer-vgg16/model"),
        "Transform--transform_graph": held("minio://bucket/knet/run-0/Transform/transform_graph"),
    }
    artifacts["workspace"] = held("minio://bucket/workspace")  # no output of a node
    executions = ContainerNode({"inputs": {"artifacts": artifacts}}).parse_input_artifacts()
    assert set(executions) == {"Trainer-vgg16", "Transform"}
    assert executions["Transform"].cached and not executions["Trainer-vgg16"].cached
    model = executions["Trainer-vgg16"].outputs["model"]
    assert (str(model.uri), model.remote) == (
        "/minio/bucket/knet/run-1/Trainer-vgg16/model",
        "minio://bucket/knet/run-1/Trainer-vgg16/model",
    )


def _failed_run(location: Path, images: Path, tmp_path: Path) -> ContainerNode:
    """Start a run whose vgg16 fails, and return the message to RunReport."""
    _start(location, images, tmp_path / "first")
    save_for_retry(_FAILURE)
    artifact = standard_artifacts.Model()
    artifact.uri = str(tmp_path / "model")
    record_failure(_FAILURE, {"model": [artifact]})
    failure = artifact.get_string_custom_property("failure")
    artifacts = {
        f"{node}--{output}": {
            "artifacts": [
                {
                    "name": "1",
                    "uri": f"minio://bucket/knet/run-1/{node}/{output}",
                    "metadata": {"seconds": 2.5, "failure": failure},
                }
            ]
        }
        for node, output in (("Trainer-vgg16", "model"), ("Evaluator-vgg16", "evaluation"))
    }
    values = {"registry": str(location), "nodes": json.dumps(["Trainer-vgg16", "Evaluator-vgg16"])}
    return ContainerNode({"inputs": {"parameterValues": values, "artifacts": artifacts}})


_FAILURE = CandidateFailure("Trainer-vgg16", "the loss is not finite", "run-1")
_REASONS = {"vgg16": "Trainer-vgg16: the loss is not finite"}


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[RunOutcome]:
    """Return the outcomes that are published from now on."""
    published: list[RunOutcome] = []
    monkeypatch.setattr(run_nodes, "publish_run", lambda *given: published.append(given[2]))
    return published


def test_run_report_records_a_failed_candidate(
    location: Path, images: Path, tmp_path: Path, outcomes: list[RunOutcome]
) -> None:
    run_nodes.run_report(_failed_run(location, images, tmp_path))
    (outcome,) = outcomes
    assert outcome.failures == _REASONS and outcome.executions == {} and outcome.error is None
    assert [(node.node, node.state) for node in outcome.nodes] == [
        ("Trainer-vgg16", "failed"),
        ("Evaluator-vgg16", "skipped"),
    ]


def test_run_end_names_the_failed_candidates(
    location: Path, images: Path, tmp_path: Path, outcomes: list[RunOutcome]
) -> None:
    _failed_run(location, images, tmp_path)
    with pytest.raises(SystemExit), log_failure_and_exit():
        raise UserError("no candidate is left")
    run_nodes.run_end(_end_node(location))
    (outcome,) = outcomes
    assert outcome.failures == _REASONS and outcome.error == "DataGate: no candidate is left"
    assert [node.node for node in outcome.nodes] == ["Trainer-vgg16", "DataGate"]


def test_run_start_retries_a_failed_candidate(location: Path, images: Path, tmp_path: Path) -> None:
    _failed_run(location, images, tmp_path)
    outputs = _start(location, images, tmp_path / "second")
    assert {name: value for name, value in outputs.items() if name.startswith("retry_") and value} == {
        "retry_trainer_vgg16": "run-1"
    }


def test_run_report_has_a_cached_failure_retried(
    location: Path, images: Path, tmp_path: Path, outcomes: list[RunOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry was emptied since, or the run started before the failure of another."""
    message = _failed_run(location, images, tmp_path)
    shutil.rmtree(location)
    monkeypatch.setenv("KFP_RUN_ID", "run-2")
    _start(location, images, tmp_path / "second")
    run_nodes.run_report(message)
    assert outcomes[0].failures == _REASONS
    assert last_failures(str(location))["Trainer-vgg16"].run == "run-2"


_NO_SERVER = "http://127.0.0.1:1"


def test_run_start_without_the_tracking_server_names_the_setting(
    location: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        _start(location, images, tmp_path / "first", f"tracking.mlflow={_NO_SERVER}")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: UserError: tracking.mlflow: MLflow at {_NO_SERVER}: Connection refused; ")


def test_run_end_records_a_run_that_cannot_be_logged(
    location: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SystemExit):
        _start(location, images, tmp_path / "first", f"tracking.mlflow={_NO_SERVER}")
    run_nodes.run_end(_end_node(location))
    record, _ = find_run("last", Workspace(location))
    assert record.error
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"warning: not logged: tracking.mlflow: MLflow at {_NO_SERVER}: ")
