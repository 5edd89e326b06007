"""The launcher's message is completed by the component's specification."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.runners.kubeflow.invocation import local_invocation

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


def test_types_are_those_that_the_component_declares(message: dict[str, Any]) -> None:
    completed = _completed(message)
    assert completed["inputs"]["artifacts"]["examples"]["artifacts"][0]["type"] == _EXAMPLES
    assert completed["outputs"]["artifacts"]["model"]["artifacts"][0]["type"] == _MODEL


def test_uris_become_paths_of_the_container(message: dict[str, Any]) -> None:
    completed = _completed(message)
    assert completed["inputs"]["artifacts"]["examples"]["artifacts"][0]["uri"] == "/minio/bucket/in"
    assert completed["outputs"]["artifacts"]["model"]["artifacts"][0]["uri"] == "/s3/bucket/out"


def test_parameters_metadata_and_output_file_stay(message: dict[str, Any]) -> None:
    completed = _completed(message)
    assert completed["inputs"]["parameterValues"] == {"seed": 1}
    assert completed["inputs"]["artifacts"]["examples"]["artifacts"][0]["metadata"] == {"display_name": "x"}
    assert completed["outputs"]["outputFile"] == "/tmp/x"


def test_additions_of_the_launcher_are_ignored_and_logged(
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
        f"{field}: ignoring {name}, which the component does not declare"
        for field, name in (
            ("inputs.parameterValues", "retries"),
            ("inputs.artifacts", "workspace"),
            ("outputs.parameters", "attempt"),
            ("outputs.artifacts", "executor-logs"),
        )
    ]


def test_a_node_without_inputs_and_outputs_is_fine() -> None:
    empty = {"inputs": {}, "outputs": {"outputFile": "/tmp/x"}}
    assert local_invocation(json.dumps(empty), inputs_spec="{}", outputs_spec="{}") == empty


def test_an_output_without_a_place_is_an_error(message: dict[str, Any]) -> None:
    message["outputs"]["artifacts"] = {}
    with pytest.raises(ValueError, match=r"outputs\.artifacts of the launcher's message: model missing"):
        _completed(message)
