"""What the launcher leaves out is filled in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.runners.kubeflow.invocation import local_invocation

_TYPE = {"instanceSchema": "title: tfx.Examples\ntype: object\n"}
_SPEC = json.dumps({"artifacts": {"examples": {"artifactType": _TYPE}}})


def _message(name: str = "examples") -> dict[str, Any]:
    def held(uri: str) -> dict[str, Any]:
        return {"artifacts": [{"name": "1", "type": {"instanceSchema": ""}, "uri": uri}]}

    return {
        "inputs": {"artifacts": {name: held("minio://bucket/in")}, "parameterValues": {"seed": 1}},
        "outputs": {"artifacts": {"model": held("s3://bucket/out")}, "outputFile": "/tmp/x"},
    }


def test_inputs_get_the_type_that_the_component_declares() -> None:
    completed = local_invocation(json.dumps(_message()), _SPEC)
    (artifact,) = completed["inputs"]["artifacts"]["examples"]["artifacts"]
    assert artifact["type"] == _TYPE


def test_uris_become_paths_of_the_container() -> None:
    completed = local_invocation(json.dumps(_message()), _SPEC)
    assert completed["inputs"]["artifacts"]["examples"]["artifacts"][0]["uri"] == "/minio/bucket/in"
    assert completed["outputs"]["artifacts"]["model"]["artifacts"][0]["uri"] == "/s3/bucket/out"


def test_the_rest_stays() -> None:
    completed = local_invocation(json.dumps(_message()), _SPEC)
    assert completed["inputs"]["parameterValues"] == {"seed": 1}
    assert completed["outputs"]["outputFile"] == "/tmp/x"


def test_a_node_without_inputs_is_fine() -> None:
    assert local_invocation('{"inputs": {}, "outputs": {}}', "{}") == {"inputs": {}, "outputs": {}}


def test_an_input_that_the_component_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="input others is not among those of the component: examples"):
        local_invocation(json.dumps(_message("others")), _SPEC)
