"""Every message that a real launcher sent is accepted by the container that it was sent to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import json_format, text_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils
from tfx.utils import import_utils

import schemas
from knet.base import schema_names
from knet.evaluation.predictions import write_predictions
from pipeline.kubeflow import artifact_uris, run_nodes
from pipeline.kubeflow.candidate_failures import RETRY
from pipeline.kubeflow.deleted_artifacts import GENERATION
from pipeline.kubeflow.entrypoint import apply_run_parameters, local_invocation, main
from pipeline.kubeflow.run_nodes import run_node
from pipeline.kubeflow.visualizations import ARTIFACT_TYPES, Visualization

_WITHOUT_TFX = {"RunStart", "RunReport", "RunEnd"}
_NODES = sorted(
    file.name.split(".")[1] for file in (Path(__file__).parent / "recordings").glob("executor_input.*.json")
)
_TFX_NODES = [node for node in _NODES if node not in _WITHOUT_TFX]
_SHOWN = ("report", "metrics", "test_metrics")
_SCHEMA = 'feature { name: "label" type: INT int_domain { min: 0 max: 1 is_categorical: true } }'
Message = dict[str, Any]
Read = Callable[[str], Message]


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that holds the file system of a pod."""
    monkeypatch.setattr(artifact_uris, "MOUNTS", {"minio://": f"{tmp_path}/minio/"})
    monkeypatch.setenv("KFP_RUN_ID", "b7a88f5c-2b97-4ab7-89f2-0a171f9cdf5a")
    monkeypatch.setenv("KNET_REGISTRY", str(tmp_path / "registry"))
    return tmp_path


@pytest.fixture
def message_of(recorded: Read, pod: Path) -> Read:
    """Return a function that reads a recorded message, with the launcher's files and folders in the pod."""

    def read(node: str) -> Message:
        message = recorded(node)
        outputs = message["outputs"]
        for held in (outputs, *outputs.get("parameters", {}).values()):
            held["outputFile"] = f"{pod}{held['outputFile']}"
        for name in outputs["artifacts"]:
            _path(outputs, name, pod).parent.mkdir(parents=True, exist_ok=True)
        return message

    return read


def _path(side: Message, name: str, pod: Path) -> Path:
    (artifact,) = side["artifacts"][name]["artifacts"]
    return pod / str(artifact["uri"]).replace("://", "/")


@pytest.fixture
def task_of(recorded_graph: Message) -> Read:
    """Return a function that finds the task of a node in the compiled pipeline."""
    tasks: dict[str, Message] = recorded_graph["components"]["Graph"]["dag"]["tasks"]
    return tasks.__getitem__


@pytest.fixture
def component_of(recorded_graph: Message, task_of: Read) -> Read:
    """Return a function that finds the component of a node in the compiled pipeline."""

    def find(node: str) -> Message:
        component: Message = recorded_graph["components"][task_of(node)["componentRef"]["name"]]
        return component

    return find


@pytest.fixture
def arguments_of(recorded_graph: Message, component_of: Read) -> Callable[[str, Message], list[str]]:
    """Return a function that fills a message into the arguments of a container."""

    def make(node: str, message: Message) -> list[str]:
        executor = recorded_graph["deploymentSpec"]["executors"][component_of(node)["executorLabel"]]
        return [word.replace("{{$}}", json.dumps(message)) for word in executor["container"]["args"]]

    return make


@pytest.fixture
def run(
    message_of: Read,
    task_of: Read,
    arguments_of: Callable[[str, Message], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Message]:
    """Return a function that runs the entrypoint on a recorded message and returns its output message.

    Constants of the current pipeline replace recorded ones, which the launcher does not choose.
    """

    def run_entrypoint(node: str, shown: tuple[str, ...] = (), **parameters: Any) -> Message:
        message = message_of(node)
        monkeypatch.setenv("KNET_NODE", node)
        _expect(message, node, *shown)
        constants = {
            name: given["runtimeValue"]["constant"]
            for name, given in task_of(node)["inputs"]["parameters"].items()
            if "runtimeValue" in given
        }
        message["inputs"]["parameterValues"] |= {**constants, **parameters}
        main(arguments_of(node, message))
        written: Message = json.loads(Path(message["outputs"]["outputFile"]).read_text("utf-8"))
        assert set(written) == {"artifacts"}
        return written

    return run_entrypoint


def _expect(message: Message, node: str, *names: str) -> None:
    """Add artifacts for the web interface to the outputs in a message, as a launcher sends them."""
    folder = message["outputs"]["artifacts"]["executor-logs"]["artifacts"][0]["uri"].rpartition("/")[0]
    for name in names:
        kind = {"schemaTitle": ARTIFACT_TYPES[node.partition("-")[0]][name], "schemaVersion": "0.0.1"}
        artifact = {"name": name, "type": kind, "uri": f"{folder}/{name}"}
        message["outputs"]["artifacts"][name] = {"artifacts": [artifact]}


def test_recordings_are_of_every_node_of_the_graph(recorded_graph: Message) -> None:
    assert {*recorded_graph["components"]["Graph"]["dag"]["tasks"], "RunEnd"} == set(_NODES)


@pytest.mark.parametrize("node", _TFX_NODES)
def test_entrypoint_accepts_the_message_of_a_launcher(
    node: str,
    run: Callable[..., Message],
    recorded: Read,
    component_of: Read,
    arguments_of: Callable[[str, Message], list[str]],
    pod: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = []
    executor = import_utils.import_class_by_path(arguments_of(node, {})[1])
    monkeypatch.setattr(executor, "Do", lambda self, *given: calls.append(given))
    added = {"synthetic_data": True} if node == "DataGate" else {}  # since the recording
    written = run(node, cache_generation="0", **added)

    ((inputs, outputs, properties),) = calls
    message, component = recorded(node), component_of(node)
    for side, artifacts in (("input", inputs), ("output", outputs)):
        declared = {
            name: spec
            for name, spec in component.get(f"{side}Definitions", {}).get("artifacts", {}).items()
            if "instanceSchema" in spec["artifactType"]  # not those for the web interface
        }
        assert set(artifacts) == set(declared)
        for name, (artifact,) in artifacts.items():
            uri = message[f"{side}s"]["artifacts"][name]["artifacts"][0]["uri"]
            assert artifact.uri == uri.replace("minio:/", f"{pod}/minio")
            title = re.search(r"title: tfx\.(\w+)", declared[name]["artifactType"]["instanceSchema"])
            assert title and type(artifact).__name__ == title[1]
    parameters = component["inputDefinitions"]["parameters"]
    assert set(properties) == {name for name in parameters if "." not in name} - {RETRY, GENERATION}
    for name, value in properties.items():
        is_int = parameters[name]["parameterType"] in ("NUMBER_INTEGER", "BOOLEAN")
        assert isinstance(value, int) is is_int

    assert set(written["artifacts"]) == set(outputs)
    for name, held in written["artifacts"].items():
        (artifact,) = held["artifacts"]
        assert artifact["name"] == name
        assert artifact["uri"] == message["outputs"]["artifacts"][name]["artifacts"][0]["uri"]


def test_parser_of_tfx_fails_on_the_output_that_a_launcher_adds(recorded: Read) -> None:
    """The reason why the entrypoint reads outputs from the specification."""
    message = json_format.ParseDict(recorded("Pusher"), pipeline_spec_pb2.ExecutorInput())
    with pytest.raises(ImportError, match=r"system\.Artifact"):
        kubeflow_v2_entrypoint_utils.parse_raw_artifact_dict(message.outputs.artifacts)


def test_import_schema_gen_writes_to_the_uploaded_path(run: Callable[..., Message], pod: Path) -> None:
    made = run("ImportSchemaGen", schema_file=str(schemas.BREAKHIS))
    written = _path(made, "schema", pod) / "schema.pbtxt"
    assert written.read_text("utf-8") == Path(schemas.BREAKHIS).read_text("utf-8")


def test_data_gate_reads_the_downloaded_inputs(
    run: Callable[..., Message], recorded: Read, pod: Path
) -> None:
    message = recorded("DataGate")
    schema = text_format.Parse(_SCHEMA, schema_pb2.Schema())
    frame = pd.DataFrame({schema_names.LABEL: [0, 1]})
    statistics = tfdv.generate_statistics_from_dataframe(
        frame, tfdv.StatsOptions(schema=schema)
    ).SerializeToString()
    for split in schema_names.SPLITS:
        for name, file, content in (
            ("statistics", "FeatureStats.pb", statistics),
            ("anomalies", "SchemaDiff.pb", Anomalies().SerializeToString()),
        ):
            path = _path(message["inputs"], name, pod) / f"Split-{split}" / file
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
    schema_file = _path(message["inputs"], "schema", pod) / "schema.pbtxt"
    schema_file.parent.mkdir(parents=True)
    schema_file.write_text(_SCHEMA, "utf-8")
    made = run("DataGate", ("data_page",), synthetic_data=True)
    verdict = _path(made, "verdict", pod)
    assert json.loads(verdict.read_text("utf-8")) == {"anomalies": 0, "drift": {}}
    page = _path(made, "data_page", pod).read_text("utf-8")
    assert "None: the data match the schema" in page and "Synthetic data" in page
    assert "report.html" not in page


def test_model_gate_blesses_by_a_property_of_its_output(
    run: Callable[..., Message], recorded: Read, pod: Path, make_predictions: Callable[..., Any]
) -> None:
    predictions = _path(recorded("ModelGate")["inputs"], "evaluation", pod) / "predictions" / "a.parquet"
    write_predictions(make_predictions("vgg16", patients=4), predictions)
    made = run("ModelGate", ("decision",))
    assert made["artifacts"]["blessing"]["artifacts"][0]["metadata"]["blessed"] == 1
    assert (_path(made, "blessing", pod) / "BLESSED").exists()
    (decision,) = made["artifacts"]["decision"]["artifacts"]
    assert decision["metadata"]["passed"] == 1 and "reasons" not in decision["metadata"]


def test_write_outputs_writes_a_file_for_each_parameter(message_of: Read) -> None:
    message = message_of("RunStart")
    parameters = message["outputs"]["parameters"]
    run_node(
        lambda node: node.write_outputs(dict.fromkeys(parameters, 1)),
        ["--executor_input", json.dumps(message)],
    )
    assert {Path(item["outputFile"]).read_text("utf-8") for item in parameters.values()} == {"1"}


def test_run_report_finds_every_node_in_its_inputs(
    message_of: Read, pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[Any] = []
    monkeypatch.setattr(run_nodes, "read_run_context", lambda location: "the context")
    monkeypatch.setattr(run_nodes, "publish_run", lambda *given: published.append(given))
    drawn = dict.fromkeys(_SHOWN, Visualization("not pushed: a reason", {"pushed": 0}))
    monkeypatch.setattr(run_nodes, "draw_run", lambda *given: drawn)
    message = message_of("RunReport")
    _expect(message, "RunReport", *_SHOWN)
    message["inputs"]["artifacts"]["executor-logs"] = message["outputs"]["artifacts"]["executor-logs"]
    run_node(run_nodes.run_report, ["--executor_input", json.dumps(message)])
    ((location, _, outcome, _),) = published
    assert location == "/data/registry"
    assert set(outcome.executions) == {record.node for record in outcome.nodes} == set(_TFX_NODES)
    assert {record.state for record in outcome.nodes} == {"done"}
    model = outcome.executions["Trainer-vgg16"].outputs["model"]
    assert str(model.uri).startswith(f"{pod}/minio/") and model.remote.startswith("minio://")
    written = json.loads(Path(message["outputs"]["outputFile"]).read_text("utf-8"))
    for name in _SHOWN:
        assert written["artifacts"][name]["artifacts"][0]["metadata"] == {"pushed": 0}
        assert _path(written, name, pod).read_text("utf-8") == "not pushed: a reason"


def test_run_end_accepts_the_message_of_a_launcher(
    message_of: Read, pod: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = message_of("RunEnd")
    message["inputs"]["parameterValues"]["registry"] = str(pod / "registry")
    run_node(run_nodes.run_end, ["--executor_input", json.dumps(message)])
    assert "failed before it began" in capsys.readouterr().out


def test_containers_refuse_the_old_name_of_the_shared_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KNET_EXCHANGE", "/exchange")
    invocation = ["--executor_class_path=none", "--json_serialized_invocation_args={}"]
    specs = ["--json_serialized_inputs_spec_args={}", "--json_serialized_outputs_spec_args={}"]
    with pytest.raises(SystemExit, match="1"):
        main([*invocation, *specs])
    with pytest.raises(SystemExit, match="1"):
        run_node(run_nodes.run_end, ["--executor_input", "{}"])
    error = "error: UserError: KNET_EXCHANGE is set, which is called KNET_SHARED_DIR"
    assert capsys.readouterr().err.count(error) == 2


_EXAMPLES = {"instanceSchema": "title: tfx.Examples\ntype: object\n"}
_MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
_INPUTS = {
    "artifacts": {"examples": {"artifactType": _EXAMPLES}},
    "parameters": {"seed": {"parameterType": "NUMBER_INTEGER"}},
}
_OUTPUTS = {"artifacts": {"model": {"artifactType": _MODEL}}}


def _held(uri: str, **kind: str) -> dict[str, Any]:
    return {"artifacts": [{"name": "1", "type": kind, "uri": uri, "metadata": {"display_name": "x"}}]}


@pytest.fixture
def message() -> dict[str, Any]:
    return {
        "inputs": {
            "artifacts": {"examples": _held("minio://bucket/in", instanceSchema="")},
            "parameterValues": {"seed": 1},
        },
        "outputs": {
            "artifacts": {"model": _held("s3://bucket/out", schemaTitle="system.Model")},
            "outputFile": "/tmp/x",
        },
    }


def _completed(message: dict[str, Any]) -> dict[str, Any]:
    return local_invocation(
        json.dumps(message), inputs_spec=json.dumps(_INPUTS), outputs_spec=json.dumps(_OUTPUTS)
    )


def test_local_invocation_has_declared_types(message: dict[str, Any]) -> None:
    completed = _completed(message)
    assert completed["inputs"]["artifacts"]["examples"]["artifacts"][0]["type"] == _EXAMPLES
    assert completed["outputs"]["artifacts"]["model"]["artifacts"][0]["type"] == _MODEL


def test_local_invocation_has_local_paths(message: dict[str, Any]) -> None:
    completed = _completed(message)
    assert completed["inputs"]["artifacts"]["examples"]["artifacts"][0]["uri"] == "/minio/bucket/in"
    assert completed["outputs"]["artifacts"]["model"]["artifacts"][0]["uri"] == "/s3/bucket/out"


def test_local_invocation_keeps_parameters_and_metadata(message: dict[str, Any]) -> None:
    completed = _completed(message)
    assert completed["inputs"]["parameterValues"] == {"seed": 1}
    assert completed["inputs"]["artifacts"]["examples"]["artifacts"][0]["metadata"] == {"display_name": "x"}
    assert completed["outputs"]["outputFile"] == "/tmp/x"


def test_local_invocation_ignores_and_logs_additions(
    message: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    expected = _completed(message)
    logs = _held("minio://bucket/logs", schemaTitle="system.Artifact")
    message["inputs"]["artifacts"]["workspace"] = logs
    message["inputs"]["parameterValues"]["retries"] = 2
    message["outputs"]["artifacts"]["executor-logs"] = logs
    message["outputs"]["parameters"] = {"attempt": {"outputFile": "/tmp/kfp/outputs/attempt"}}
    expected["outputs"]["parameters"] = {}
    with caplog.at_level("INFO"):
        assert _completed(message) == expected
    assert [record.getMessage() for record in caplog.records] == [
        f"{field}: the executor does not get {name}, which the component does not declare"
        for field, name in (
            ("inputs.parameterValues", "retries"),
            ("inputs.artifacts", "workspace"),
            ("outputs.parameters", "attempt"),
            ("outputs.artifacts", "executor-logs"),
        )
    ]


def test_local_invocation_without_inputs_and_outputs() -> None:
    empty = {"inputs": {}, "outputs": {"outputFile": "/tmp/x"}}
    assert local_invocation(json.dumps(empty), inputs_spec="{}", outputs_spec="{}") == empty


def test_local_invocation_refuses_a_missing_output(message: dict[str, Any]) -> None:
    message["outputs"]["artifacts"] = {}
    with pytest.raises(ValueError, match=r"outputs\.artifacts of the launcher's message: model missing"):
        _completed(message)


def test_apply_run_parameters_sets_nested_json() -> None:
    candidate = json.dumps({"seed": 0, "training": {"epochs": 200, "momentum": 0.9}})
    properties: dict[str, Any] = {
        "custom_config": json.dumps({"candidate": candidate, "cache_root": "/cache"}),
        "custom_config.candidate.seed": 7,
        "custom_config.candidate.training.epochs": 3,
        "run_fn": "knet.training.trainer.run_fn",
    }
    values = apply_run_parameters(properties)
    assert set(values) == {"custom_config", "run_fn"}
    settings = json.loads(values["custom_config"])
    assert settings["cache_root"] == "/cache"
    assert json.loads(settings["candidate"]) == {"seed": 7, "training": {"epochs": 3, "momentum": 0.9}}
    assert "custom_config.candidate.seed" in properties


@pytest.mark.parametrize("name", ["none.seed", "candidate.none", "candidate.none.seed"])
def test_apply_run_parameters_refuses_unknown_paths(name: str) -> None:
    with pytest.raises(ValueError, match=f"the parameter {name} leads to nothing"):
        apply_run_parameters({"candidate": '{"seed": 0}', name: 1})
