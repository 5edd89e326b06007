"""Observers are told of each answer before the client has it, and cannot spoil it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.dev_server import DevServer
from serving.dev_server.observer import RequestRecord
from serving.dev_server.options import Options


class Keeps:
    def __init__(self) -> None:
        self.records: list[RequestRecord] = []

    def observe(self, request_record: RequestRecord) -> None:
        self.records.append(request_record)


class Fails:
    def observe(self, request_record: RequestRecord) -> None:
        raise OSError("disk full")


def test_what_an_observer_is_told(base_path: Path, png: Callable[[int], bytes]) -> None:
    keeps = Keeps()
    with (
        DevServer(base_path, port=0, options=Options(observers=[Fails(), keeps])) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest(model_spec={"name": "knet"}, output_filter=["label"])
        request.inputs["image"].CopyFrom(tf.make_tensor_proto([png(51), png(255)]))
        assert set(stub.Predict(request).outputs) == {"label"}
        (record,) = keeps.records
        with pytest.raises(grpc.RpcError):
            request.inputs["image"].string_val[0] = b"no image"
            stub.Predict(request)
        other = predict_pb2.PredictRequest(model_spec={"name": "knet", "signature_name": "double"})
        other.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
        stub.Predict(other)
    assert keeps.records == [record]  # neither refused requests nor those without images
    assert (record.model, record.version, record.signature) == ("knet", 7, "serving_default")
    assert record.image_sha256 == tuple(hashlib.sha256(png(level)).hexdigest() for level in (51, 255))
    assert record.time.utcoffset() is not None and 0 < record.seconds < 60
    dark, bright = record.answers
    assert dark == {
        "probabilities": pytest.approx([0.8, 0.2]),
        "classes": ["benign", "malignant"],
        "label": "benign",
        "score": pytest.approx(0.2),
        "in_distribution": False,
        "reasons": ["dark", ""],
        "distance": pytest.approx(0.8),
    }
    assert (bright["label"], bright["in_distribution"]) == ("malignant", True)


def test_the_protocol_is_imported_without_tensorflow() -> None:
    program = "import sys, serving.dev_server.observer; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
