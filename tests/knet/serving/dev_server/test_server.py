"""Tests of the development server with the official stubs and TFX's client."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from knet.base import schema_names
from knet.base.errors import UserError
from knet.serving.dev_server.loaded_version import LoadedVersion
from knet.serving.dev_server.server import DevServer, Options

Png = Callable[[int], bytes]


@pytest.fixture(scope="module")
def channel(server: DevServer) -> grpc.Channel:
    return grpc.insecure_channel(server.address)


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def status_stub(channel: grpc.Channel) -> Any:
    return model_service_pb2_grpc.ModelServiceStub(channel)


def request_for(images: list[bytes], **spec: Any) -> predict_pb2.PredictRequest:
    return predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(**{"name": schema_names.MODEL_NAME, **spec}),
        inputs={schema_names.SERVING_INPUT: tf.make_tensor_proto(images, tf.string, [len(images)])},
    )


def status_of(call: Callable[[Any], Any], request: Any) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code(), caught.value.details()


def test_server_serves_the_newest_complete_version(server: DevServer) -> None:
    assert server.version == 7


def test_predict_returns_all_outputs(stub: Any, png: Png) -> None:
    reply = stub.Predict(request_for([png(0), png(255), png(51)]))
    assert reply.model_spec == model_pb2.ModelSpec(
        name=schema_names.MODEL_NAME, version={"value": 7}, signature_name=schema_names.SERVING_SIGNATURE
    )
    outputs = {name: tf.make_ndarray(value) for name, value in reply.outputs.items()}
    assert outputs[schema_names.PROBABILITIES] == pytest.approx(
        tf.constant([[1, 0], [0, 1], [0.8, 0.2]]).numpy()
    )
    assert outputs[schema_names.PREDICTED_LABEL].tolist() == [b"benign", b"malignant", b"benign"]
    assert outputs[schema_names.SCORE] == pytest.approx([0, 1, 0.2])


def test_predict_named_version_and_signature(stub: Any) -> None:
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(
            name=schema_names.MODEL_NAME, version={"value": 7}, signature_name="double"
        ),
        inputs={"x": tf.make_tensor_proto([1.5, 2.0])},
    )
    reply = stub.Predict(request)
    assert tf.make_ndarray(reply.outputs["y"]).tolist() == [3.0, 4.0]
    assert reply.model_spec.signature_name == "double"


def test_predict_output_filter(stub: Any, png: Png) -> None:
    request = request_for([png(0)])
    request.output_filter.append(schema_names.SCORE)
    assert set(stub.Predict(request).outputs) == {schema_names.SCORE}
    request.output_filter.append("nothing")
    assert status_of(stub.Predict, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "output tensor alias not found in signature: nothing "
        "Outputs expected to be in the set "
        "{classes,distance,in_distribution,label,probabilities,reasons,score}.",
    )


@pytest.mark.parametrize(
    ("spec", "details"),
    [
        ({"name": "other"}, "Servable not found for request: Latest(other)"),
        ({"version": {"value": 6}}, "Servable not found for request: Specific(knet, 6)"),
    ],
)
def test_predict_unknown_model_or_version_is_refused(
    stub: Any, status_stub: Any, png: Png, spec: dict[str, Any], details: str
) -> None:
    request = request_for([png(0)], **spec)
    assert status_of(stub.Predict, request) == (grpc.StatusCode.NOT_FOUND, details)
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=request.model_spec, metadata_field=["signature_def"]
    )
    assert status_of(stub.GetModelMetadata, metadata)[0] == grpc.StatusCode.NOT_FOUND
    status = get_model_status_pb2.GetModelStatusRequest(model_spec=request.model_spec)
    assert status_of(status_stub.GetModelStatus, status)[0] == grpc.StatusCode.NOT_FOUND


def test_predict_unknown_signature_is_refused(stub: Any, png: Png) -> None:
    assert status_of(stub.Predict, request_for([png(0)], signature_name="nothing")) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        'Serving signature key "nothing" not found.',
    )


@pytest.mark.parametrize(
    ("inputs", "details"),
    [
        ({}, "Missing but required: {image}"),
        ({"image": ["a"], "extra": [1.0]}, "Sent extra: {extra}"),
        ({"image": [1.0]}, "input 'image' must be string"),
        ({"image": "one"}, "input 'image' must have the shape (None,), not ()"),
        ({"image": ["not an image"]}, "Unknown image file format"),
        ({"image": [""]}, "Input is empty"),
    ],
    ids=["missing", "unknown", "type", "shape", "undecodable", "empty"],
)
def test_predict_invalid_inputs_are_refused(stub: Any, inputs: dict[str, Any], details: str) -> None:
    request = request_for([])
    request.inputs.clear()
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    code, text = status_of(stub.Predict, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert text is not None and details in text
    assert "stack traces" not in text


def test_predict_malformed_tensor_is_refused(stub: Any) -> None:
    request = request_for([])
    request.inputs[schema_names.SERVING_INPUT].tensor_shape.dim[0].size = -5
    assert status_of(stub.Predict, request)[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_metadata_lists_the_signatures(stub: Any) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=model_pb2.ModelSpec(name=schema_names.MODEL_NAME), metadata_field=["signature_def"]
    )
    reply = stub.GetModelMetadata(request)
    assert reply.model_spec.version.value == 7
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def[schema_names.SERVING_SIGNATURE]
    assert set(signature.inputs) == {schema_names.SERVING_INPUT}
    assert set(signature.outputs) == {
        schema_names.PROBABILITIES,
        schema_names.CLASSES,
        schema_names.PREDICTED_LABEL,
        schema_names.SCORE,
        schema_names.IN_DISTRIBUTION,
        schema_names.REASONS,
        schema_names.DISTANCE,
    }
    request.metadata_field[0] = "nothing"
    assert status_of(stub.GetModelMetadata, request)[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_status_is_available(status_stub: Any) -> None:
    reply = status_stub.GetModelStatus(
        get_model_status_pb2.GetModelStatusRequest(
            model_spec=model_pb2.ModelSpec(name=schema_names.MODEL_NAME)
        )
    )
    (status,) = reply.model_version_status
    assert (status.version, status.state) == (7, get_model_status_pb2.ModelVersionStatus.AVAILABLE)


def test_predict_concurrent_requests(stub: Any, png: Png) -> None:
    levels = list(range(0, 250, 5))

    def score(level: int) -> float:
        return float(tf.make_ndarray(stub.Predict(request_for([png(level)])).outputs[schema_names.SCORE])[0])

    with futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(score, levels)) == pytest.approx([level / 255 for level in levels])


def test_tfx_infra_validator_client(server: DevServer, png: Png) -> None:
    # Imported here, because TFX takes seconds to import.
    from tfx.components.infra_validator import error_types, types
    from tfx.components.infra_validator.model_server_clients import tensorflow_serving_client

    client = tensorflow_serving_client.TensorFlowServingClient(server.address, schema_names.MODEL_NAME)
    assert client._GetServingStatus() == types.ModelServingStatus.READY
    client.WaitUntilModelLoaded(deadline=time.time() + 60, polling_interval_sec=1)
    client.SendRequests([request_for([png(0)]), request_for([png(255)])])
    with pytest.raises(error_types.ValidationFailed):
        client.SendRequests([request_for([b"not an image"])])
    other = tensorflow_serving_client.TensorFlowServingClient(server.address, "other")
    assert other._GetServingStatus() == types.ModelServingStatus.NOT_READY


def test_health_check_of_each_service(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
        request = health_pb2.HealthCheckRequest(service=service)
        assert stub.Check(request).status == health_pb2.HealthCheckResponse.SERVING
    unknown = health_pb2.HealthCheckRequest(service="other")
    assert status_of(stub.Check, unknown)[0] == grpc.StatusCode.NOT_FOUND


def test_server_refuses_messages_above_the_limit(base_path: Path, png: Png) -> None:
    options = Options(max_message_bytes=10_000)
    with (
        DevServer(base_path, port=0, rest_port=0, options=options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        code, _ = status_of(stub.Predict, request_for([bytes(20_000)]))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://{server.rest_address}/v1/models/knet:predict", bytes(20_000))
        assert caught.value.code == 413
        assert stub.Predict(request_for([png(0)])).outputs


def test_server_refuses_requests_above_the_concurrency_limit(
    base_path: Path, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, may_run = slow_models(monkeypatch)
    with (
        DevServer(base_path, port=0, options=Options(max_requests=1)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        first = stub.Predict.future(request_for([png(0)]))
        assert running.wait(10)
        assert status_of(stub.Predict, request_for([png(0)]))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        may_run.set()
        assert first.result().outputs


def slow_models(monkeypatch: pytest.MonkeyPatch) -> tuple[Event, Event]:
    """Make models wait: returns an event that is set when one runs, and an event that lets it run."""
    running, may_run = Event(), Event()
    run = LoadedVersion.run

    def wait_and_run(*arguments: Any) -> Any:
        running.set()
        assert may_run.wait(10)
        return run(*arguments)

    monkeypatch.setattr(LoadedVersion, "run", wait_and_run)
    return running, may_run


@pytest.mark.slow
def test_calls_that_wait_for_a_stalled_process_are_answered(base_path: Path) -> None:
    """By default gRPC ends calls that were not accepted in 30 seconds, without a status."""
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": schema_names.MODEL_NAME})
    with DevServer(base_path, port=0) as stalled, grpc.insecure_channel(stalled.address) as channel:
        call = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
        call(request)
        stalled._loop.call_soon_threadsafe(time.sleep, 31)
        waiting = [call.future(request, timeout=300) for _ in range(20)]
        assert {one.code() for one in waiting} == {grpc.StatusCode.OK}


def test_stop_waits_for_running_requests(base_path: Path, png: Png, monkeypatch: pytest.MonkeyPatch) -> None:
    running, may_run = slow_models(monkeypatch)
    server = DevServer(base_path, port=0)
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        first = stub.Predict.future(request_for([png(0)]))
        assert running.wait(10)
        stopping = Thread(target=server.stop)
        stopping.start()
        stopping.join(0.2)
        with grpc.insecure_channel(server.address) as late:
            code, _ = status_of(
                prediction_service_pb2_grpc.PredictionServiceStub(late).Predict, request_for([png(0)])
            )
        assert code == grpc.StatusCode.UNAVAILABLE
        may_run.set()
        assert first.result().outputs
        stopping.join(10)
        assert not stopping.is_alive()


def test_server_damaged_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(UserError, match=f"no version in {tmp_path} can be loaded: version 3 of knet"):
        DevServer(tmp_path, port=0)


def test_server_port_in_use_is_refused(server: DevServer, base_path: Path) -> None:
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}"):
        DevServer(base_path, port=port)


def test_server_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not a folder"):
        DevServer(tmp_path / "nowhere", port=0)


def test_server_without_complete_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with pytest.raises(UserError, match=f"{tmp_path} holds no model"):
        DevServer(tmp_path, port=0)


def test_stop_ends_wait_and_frees_the_port(base_path: Path) -> None:
    server = DevServer(base_path, port=0)
    server.start()
    waiter = Thread(target=server.wait)
    waiter.start()
    server.stop()
    waiter.join(timeout=60)
    assert not waiter.is_alive()
    with DevServer(base_path, port=int(server.address.rpartition(":")[2])) as successor:
        assert successor.address == server.address
