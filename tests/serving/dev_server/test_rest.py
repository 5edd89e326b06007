"""TF Serving's JSON over HTTP, as its documentation has it."""

from __future__ import annotations

import base64
import json
import math
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from serving.dev_server import DevServer

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(server: DevServer) -> Ask:
    def ask(path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"http://{server.rest_address}/v1/models/{path}", data) as reply:
            assert reply.headers["Content-Type"].startswith("application/json")
            return json.load(reply)

    return ask


@pytest.fixture
def image(png: Callable[[int], bytes]) -> dict[str, str]:
    return {"b64": base64.b64encode(png(51)).decode()}


@pytest.mark.parametrize("path", ["knet", "knet/versions/7"])
def test_rows(ask: Ask, image: dict[str, str], path: str) -> None:
    (row,) = ask(f"{path}:predict", {"signature_name": "serving_default", "instances": [image]})[
        "predictions"
    ]
    assert row == {
        "probabilities": [0.8, 0.2],  # not 0.800000011920929
        "classes": ["benign", "malignant"],
        "label": "benign",
        "score": 0.2,
        "in_distribution": False,
        "reasons": ["dark", ""],
        "distance": 0.8,
    }
    assert ask(f"{path}:predict", {"instances": [{"image": image}]}) == {"predictions": [row]}


def test_columns(ask: Ask, image: dict[str, str]) -> None:
    for inputs in ([image, image], {"image": [image, image]}):
        outputs = ask("knet:predict", {"inputs": inputs})["outputs"]
        assert outputs["score"] == [0.2, 0.2] and outputs["classes"] == [["benign", "malignant"]] * 2


def test_a_single_output_goes_without_its_name(ask: Ask) -> None:
    assert ask("knet:predict", {"signature_name": "double", "inputs": [1, 2.5]}) == {"outputs": [2.0, 5.0]}
    row = {"signature_name": "double", "instances": [1, 2.5]}
    assert ask("knet:predict", row) == {"predictions": [2.0, 5.0]}


def test_several_inputs(ask: Ask) -> None:
    rows = [{"a": [1, 2], "b": [3, 4]}, {"a": [5, 6], "b": [7, 8]}]
    expected = [
        {"sum": [4.0, 6.0], "name_bytes": {"b64": "/w=="}},
        {"sum": [12.0, 14.0], "name_bytes": {"b64": "/w=="}},
    ]
    assert ask("knet:predict", {"signature_name": "add", "instances": rows}) == {"predictions": expected}
    columns = {name: [row[name] for row in rows] for name in ("a", "b")}
    outputs = ask("knet:predict", {"signature_name": "add", "inputs": columns})["outputs"]
    assert outputs["sum"] == [[4.0, 6.0], [12.0, 14.0]]


def test_whole_numbers(ask: Ask) -> None:
    assert ask("knet:predict", {"signature_name": "count", "instances": [1, 254]}) == {
        "predictions": [2, 255]
    }


def test_tokens_that_json_lacks(ask: Ask) -> None:
    body = {"signature_name": "double", "inputs": [math.nan, -math.inf]}
    outputs = ask("knet:predict", body)["outputs"]
    assert math.isnan(outputs[0]) and outputs[1] == -math.inf


def test_classify(ask: Ask, image: dict[str, str]) -> None:
    body = {"signature_name": "classify", "examples": [{"image/encoded": image}, {"image/encoded": [image]}]}
    assert ask("knet:classify", body) == {"results": [[["benign", 0.8], ["malignant", 0.2]]] * 2}


def test_classify_with_a_context(ask: Ask, image: dict[str, str]) -> None:
    body = {
        "signature_name": "classify",
        "context": {"image/encoded": image, "count": [1, 2], "share": [0.5], "name": "a"},
        "examples": [{}],
    }
    assert ask("knet:classify", body) == {"results": [[["benign", 0.8], ["malignant", 0.2]]]}


@pytest.mark.parametrize("path", ["knet", "knet/versions/7"])
def test_status(ask: Ask, path: str) -> None:
    status = {"error_code": "OK", "error_message": ""}
    assert ask(path) == {"model_version_status": [{"version": "7", "state": "AVAILABLE", "status": status}]}


def test_metadata(ask: Ask) -> None:
    tree = ask("knet/metadata")
    assert tree["model_spec"] == {"name": "knet", "version": "7"}
    signatures = tree["metadata"]["signature_def"]["signature_def"]
    assert signatures["double"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signatures["classify"]["method_name"] == "tensorflow/serving/classify"
