"""Prometheus finds TF Serving's metrics under their names, and they count."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.dev_server import DevServer


@pytest.fixture(scope="module")
def fresh(base_path: Path) -> Iterator[DevServer]:
    """A server that nobody asked yet."""
    with DevServer(base_path, port=0, rest_port=0) as server:
        yield server


def samples(server: DevServer) -> dict[tuple[str, tuple[str, ...]], float]:
    with urllib.request.urlopen(f"http://{server.rest_address}/monitoring/prometheus/metrics") as reply:
        assert reply.headers["Content-Type"].startswith("text/plain")
        text = reply.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "le" not in sample.labels
    }


def test_requests_are_counted_by_model_and_status(fresh: DevServer) -> None:
    with grpc.insecure_channel(fresh.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def ask(model: str, values: Any) -> None:
            request = predict_pb2.PredictRequest(model_spec={"name": model, "signature_name": "double"})
            request.inputs["x"].CopyFrom(tf.make_tensor_proto(values))
            stub.Predict(request)

        ask("knet", [1.0, 2.0])
        ask("knet", [1.0, 2.0])
        for model, values in (("knet", [1.0]), ("a stranger's", [1.0]), ("another stranger's", [1.0])):
            with pytest.raises(grpc.RpcError):
                ask(model, values)
    found = samples(fresh)
    assert found[":tensorflow:serving:request_count", ("OK", "knet")] == 2
    assert found[":tensorflow:serving:request_count", ("INVALID_ARGUMENT", "knet")] == 1
    assert found[":tensorflow:serving:request_count", ("NOT_FOUND", "unknown")] == 2
    latency = ":tensorflow:serving:request_latency"
    assert found[f"{latency}_count", ("GRPC", "Predict", "knet")] == 3
    assert found[f"{latency}_sum", ("GRPC", "Predict", "knet")] > 1  # microseconds
    assert found[":tensorflow:serving:runtime_latency_count", ("Predict", "TF1", "knet")] == 2
    loads = {labels: n for (name, labels), n in found.items() if name.endswith("load_attempt_count")}
    assert [(Path(path).name, status) for path, status in loads] == [("7", "OK")]


def test_requests_over_rest_are_counted_too(fresh: DevServer) -> None:
    url = f"http://{fresh.rest_address}/v1/models/knet:predict"
    urllib.request.urlopen(url, b'{"signature_name": "double", "inputs": [1, 2]}').read()
    assert samples(fresh)[":tensorflow:serving:request_latency_count", ("Predict", "REST", "knet")] == 1
