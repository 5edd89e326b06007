"""Conformance of the development server to TF Serving's documentation and sources.

Each row is a request and its expected reply: the gRPC code, and a part of the message that TF Serving sends
(its predict_util.cc, server_core.cc, get_model_status_impl.cc, classifier.cc), and over REST its HTTP status.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import grpc
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from knet.serving.dev_server.server import DevServer

Code = grpc.StatusCode
_IMAGE = 'inputs {{ key: "image" value {{ dtype: DT_STRING {} }} }}'
_TWO = 'inputs { key: "x" value { dtype: DT_FLOAT tensor_shape { dim { size: 2 } } float_val: [1, 2] } }'
_DOUBLE = 'model_spec { name: "knet" signature_name: "double" } '
_KNET = 'model_spec { name: "knet" } '
_EXAMPLE = "input { example_list { examples {} } } "
_CONFIG = "config {{ model_config_list {{ {} }} }}"

# call, request in text form, code, part of the message
REFUSED = {
    "no model": ("Predict", _TWO, Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
    "unknown model": (
        *("Predict", 'model_spec { name: "other" }'),
        *(Code.NOT_FOUND, "Servable not found for request: Latest(other)"),
    ),
    "unknown version": (
        *("Predict", 'model_spec { name: "knet" version { value: 99 } }'),
        *(Code.NOT_FOUND, "Servable not found for request: Specific(knet, 99)"),
    ),
    "unknown label": (
        *("Predict", 'model_spec { name: "knet" version_label: "beta" }'),
        *(Code.INVALID_ARGUMENT, "Unrecognized servable version label: beta"),
    ),
    "unknown signature": (
        *("Predict", 'model_spec { name: "knet" signature_name: "nothing" }'),
        *(Code.FAILED_PRECONDITION, 'Serving signature key "nothing" not found.'),
    ),
    "missing input": (
        *("Predict", _DOUBLE),
        *(Code.INVALID_ARGUMENT, "Sent extra: {}. Missing but required: {x}."),
    ),
    "further input": (
        *("Predict", _DOUBLE + _TWO + _TWO.replace('"x"', '"y"')),
        *(Code.INVALID_ARGUMENT, "input size does not match signature: 2!=1 len({x,y}) != len({x})"),
    ),
    "wrong type": (
        *("Predict", _DOUBLE + _TWO.replace("DT_FLOAT", "DT_INT32").replace("float_val", "int_val")),
        *(Code.INVALID_ARGUMENT, "float32"),
    ),
    "wrong shape": (
        *("Predict", _DOUBLE + _TWO.replace("size: 2", "size: 3")),
        *(Code.INVALID_ARGUMENT, "shape"),
    ),
    "no type": (
        *("Predict", _DOUBLE + _TWO.replace("DT_FLOAT", "DT_INVALID")),
        *(Code.INVALID_ARGUMENT, "tensor parsing error: x"),
    ),
    "fewer values than the shape says": (
        *("Predict", _KNET + _IMAGE.format("tensor_shape { dim { size: 3 } }")),
        *(Code.INVALID_ARGUMENT, "tensor parsing error: image"),
    ),
    "a shape that would fill the memory": (
        *("Predict", _KNET + _IMAGE.format('tensor_shape { dim { size: 1099511627776 } } string_val: "a"')),
        *(Code.INVALID_ARGUMENT, "tensor parsing error: image"),
    ),
    "undecodable image": (
        *("Predict", _KNET + _IMAGE.format('tensor_shape { dim { size: 1 } } string_val: "a"')),
        *(Code.INVALID_ARGUMENT, "Unknown image file format"),
    ),
    "unknown output": (
        *("Predict", f'{_DOUBLE}{_TWO} output_filter: "z"'),
        *(Code.INVALID_ARGUMENT, "output tensor alias not found in signature: z Outputs expected to be in"),
    ),
    "output named twice": (
        *("Predict", f'{_DOUBLE}{_TWO} output_filter: ["y", "y"]'),
        *(Code.INVALID_ARGUMENT, "duplicate output tensor alias: y"),
    ),
    "classification of nothing": (
        *("Classify", 'model_spec { name: "knet" signature_name: "classify" }'),
        *(Code.INVALID_ARGUMENT, "Input is empty."),
    ),
    "classification by another signature": (
        *("Classify", _EXAMPLE + _KNET),
        *(Code.INVALID_ARGUMENT, "Expected classification signature method_name to be tensorflow/serving/cl"),
    ),
    "classification by no signature": (
        *("Classify", _EXAMPLE + 'model_spec { name: "knet" signature_name: "z" }'),
        *(Code.INVALID_ARGUMENT, "No signature was found with the name: z"),
    ),
    "classification of an example without an image": (
        *("Classify", _EXAMPLE + 'model_spec { name: "knet" signature_name: "classify" }'),
        *(Code.INVALID_ARGUMENT, "image/encoded"),
    ),
    "metadata of nothing": (
        *("GetModelMetadata", 'metadata_field: "signature_def"'),
        *(Code.INVALID_ARGUMENT, "Missing ModelSpec"),
    ),
    "metadata without a field": (
        *("GetModelMetadata", _KNET),
        *(Code.INVALID_ARGUMENT, "must specify at least one metadata_field"),
    ),
    "other metadata": (
        *("GetModelMetadata", _KNET + 'metadata_field: "z"'),
        *(Code.INVALID_ARGUMENT, "Metadata field z is not supported"),
    ),
    "status of nothing": ("GetModelStatus", "", Code.INVALID_ARGUMENT, "Missing ModelSpec"),
    "status of an unknown model": (
        *("GetModelStatus", 'model_spec { name: "other" }'),
        *(Code.NOT_FOUND, "Could not find any versions of model other"),
    ),
    "status of an unknown version": (
        *("GetModelStatus", 'model_spec { name: "knet" version { value: 99 } }'),
        *(Code.NOT_FOUND, "Could not find version 99 of model knet"),
    ),
    "a config without a list": (
        *("HandleReloadConfigRequest", "config { custom_model_config { } }"),
        *(Code.INVALID_ARGUMENT, "Only ModelConfigList is currently supported"),
    ),
    "a config that lists a model twice": (
        *("HandleReloadConfigRequest", _CONFIG.format(2 * 'config { name: "a" base_path: "/" } ')),
        *(Code.INVALID_ARGUMENT, "multiple times"),
    ),
    "a config with a relative folder": (
        *("HandleReloadConfigRequest", _CONFIG.format('config { name: "a" base_path: "b" }')),
        *(Code.INVALID_ARGUMENT, "Expected model a to have an absolute path"),
    ),
    "a config with a folder that there is not": (
        *("HandleReloadConfigRequest", _CONFIG.format('config { name: "a" base_path: "/no/a" }')),
        *(Code.INVALID_ARGUMENT, "Could not find base path /no/a for servable a"),
    ),
    "regression": ("Regress", _KNET, Code.UNIMPLEMENTED, "no Regress"),
    "inference": ("MultiInference", "", Code.UNIMPLEMENTED, "no MultiInference"),
}  # fmt: skip
_REQUESTS: dict[str, Any] = {
    "Predict": predict_pb2.PredictRequest,
    "Classify": classification_pb2.ClassificationRequest,
    "Regress": regression_pb2.RegressionRequest,
    "MultiInference": inference_pb2.MultiInferenceRequest,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
    "HandleReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
}

# method, path, body, HTTP status, part of the error
REFUSED_OVER_REST: dict[str, tuple[str, str, Any, int, str]] = {
    "unknown model": ("POST", "other:predict", {"instances": [1]}, 404, "Latest(other)"),
    "unknown version": ("POST", "knet/versions/99:predict", {"instances": [1]}, 404, "Specific(knet, 99)"),
    "unknown label": ("POST", "knet/labels/beta:predict", {"instances": [1]}, 400, "Unrecognized servable"),
    "version that is no number": ("GET", "knet/versions/99999999999999999999", None, 400, "to numeric"),
    "unknown signature": (
        *("POST", "knet:predict", {"signature_name": "z", "instances": [1]}),
        *(400, 'Serving signature name: "z" not found in signature def'),
    ),
    "signature that is no text": ("POST", "knet:predict", {"signature_name": 1}, 400, "must be a string"),
    "no JSON": ("POST", "knet:predict", "{", 400, "JSON Parse error"),
    "no object": ("POST", "knet:predict", [], 400, "Is not object"),
    "no inputs": ("POST", "knet:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
    "both kinds of inputs": ("POST", "knet:predict", {"inputs": 1, "instances": [1]}, 400, "only one of"),
    "no instance": ("POST", "knet:predict", {"instances": []}, 400, "'instances'"),
    "wrong type": ("POST", "knet:predict", {"instances": [1]}, 400, "is not of expected type: string"),
    "a number that the type cannot hold": (
        *("POST", "knet:predict", {"signature_name": "count", "inputs": [256]}),
        *(400, "n has a value beyond uint8"),
    ),
    "a fraction where whole numbers are": (
        *("POST", "knet:predict", {"signature_name": "count", "inputs": [1.5]}),
        *(400, "is not of expected type: uint8"),
    ),
    "damaged base64": ("POST", "knet:predict", {"instances": [{"b64": "!"}]}, 400, "Unable to base64 decode"),
    "undecodable image": ("POST", "knet:predict", {"instances": ["a"]}, 400, "Unknown image file format"),
    "ragged lists": (
        *("POST", "knet:predict", {"signature_name": "double", "inputs": [[1.0], [1.0, 2.0]]}),
        *(400, "Encountered list at unexpected size"),
    ),
    "rows without the names of two inputs": (
        *("POST", "knet:predict", {"signature_name": "add", "instances": [[1, 2]]}),
        *(400, "instances is a plain list, but expecting list of objects"),
    ),
    "rows with other names": (
        *("POST", "knet:predict", {"signature_name": "add", "instances": [{"a": [1, 2]}]}),
        *(400, "keys must be equal to: a,b"),
    ),
    "columns that lack one": (
        *("POST", "knet:predict", {"signature_name": "add", "inputs": {"a": [[1, 2]]}}),
        *(400, "Missing named input: b in 'inputs' object."),
    ),
    "classification without examples": ("POST", "knet:classify", {}, 400, "key 'examples' is expected"),
    "regression": ("POST", "knet:regress", {}, 501, "no Regress"),
    "another verb": ("POST", "knet:explode", {}, 400, "Malformed request: POST /v1/models/knet:explode"),
    "another method": ("GET", "knet:predict", None, 400, "Malformed request: GET"),
    "method in capitals": ("POST", "knet:PREDICT", {}, 400, "Malformed request: POST"),
    "deletion": ("DELETE", "knet", None, 400, "Malformed request: DELETE /v1/models/knet"),
    "status of an unknown model": ("GET", "other", None, 404, "Could not find any versions of model other"),
    "status of no model": ("GET", "", None, 400, "Malformed request: GET /v1/models/"),
}  # fmt: skip


@pytest.fixture(scope="module")
def call(server: DevServer) -> Callable[[str, Any], Any]:
    channel = grpc.insecure_channel(server.address)
    stubs = (
        prediction_service_pb2_grpc.PredictionServiceStub(channel),
        model_service_pb2_grpc.ModelServiceStub(channel),
    )
    return lambda name, request: next(getattr(s, name) for s in stubs if hasattr(s, name))(request)


@pytest.fixture(scope="module")
def http(server: DevServer) -> Callable[..., tuple[int, Any]]:
    def ask(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        text = body if isinstance(body, str) else json.dumps(body)
        request = urllib.request.Request(
            f"http://{server.rest_address}/v1/models/{path}",
            data=None if body is None else text.encode(),
            method=method,
        )
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            assert error.headers["Content-Type"].startswith("application/json")
            return error.code, json.load(error)

    return ask


@pytest.mark.parametrize(("name", "text", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_invalid_request_is_refused_over_grpc(
    call: Callable[[str, Any], Any], name: str, text: str, code: grpc.StatusCode, message: str
) -> None:
    request = text_format.Parse(text, _REQUESTS[name]())
    with pytest.raises(grpc.RpcError) as caught:
        call(name, request)
    assert caught.value.code() == code, caught.value.details()
    assert message in (caught.value.details() or "")
    assert "node" not in (caught.value.details() or "")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"), REFUSED_OVER_REST.values(), ids=REFUSED_OVER_REST
)
def test_invalid_request_is_refused_over_rest(
    http: Callable[..., tuple[int, Any]], method: str, path: str, body: Any, status: int, message: str
) -> None:
    got, tree = http(method, path, body)
    assert got == status, tree
    assert set(tree) == {"error"} and message in tree["error"]


@pytest.mark.parametrize("context", [False, True])
def test_classify_over_grpc(
    call: Callable[[str, Any], Any], png: Callable[[int], bytes], context: bool
) -> None:
    example = tf.train.Example()
    example.features.feature["image/encoded"].bytes_list.value.append(png(51))
    request = classification_pb2.ClassificationRequest(
        model_spec={"name": "knet", "signature_name": "classify"}
    )
    if context:  # common to all examples
        request.input.example_list_with_context.context.CopyFrom(example)
        request.input.example_list_with_context.examples.add()
    else:
        request.input.example_list.examples.append(example)
    reply = call("Classify", request)
    assert (reply.model_spec.version.value, reply.model_spec.signature_name) == (7, "classify")
    (one,) = reply.result.classifications
    assert [(c.label, pytest.approx(c.score)) for c in one.classes] == [("benign", 0.8), ("malignant", 0.2)]


def test_predict_reply_uses_the_field_of_the_type(
    call: Callable[[str, Any], Any], png: Callable[[int], bytes]
) -> None:
    request = predict_pb2.PredictRequest(model_spec={"name": "knet"})
    request.inputs["image"].CopyFrom(tf.make_tensor_proto([png(255), png(0)]))
    outputs = call("Predict", request).outputs
    assert list(outputs["score"].float_val) == [1.0, 0.0] and not outputs["score"].tensor_content
    assert list(outputs["in_distribution"].bool_val) == [True, False]
    assert list(outputs["label"].string_val) == [b"malignant", b"benign"]
    assert [d.size for d in outputs["probabilities"].tensor_shape.dim] == [2, 2]
