"""The development server's answers, in a log."""

from __future__ import annotations

import json
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_service_pb2_grpc

from pipeline import features
from serving.dev_server import DevServer
from serving.dev_server.observer import PATIENT
from serving.dev_server.options import Options
from serving.monitoring.log_observer import LogObserver
from serving.monitoring.pseudonym import pseudonym
from serving.monitoring.read_log import read_log
from serving.monitoring.request_log import RequestLog

KEY = b"0123456789abcdef"


@pytest.fixture(scope="module")
def logged(base_path: Path, tmp_path_factory: pytest.TempPathFactory, png: Callable[[int], bytes]) -> Any:
    """What was noted of two images over gRPC and one over REST."""
    folder = tmp_path_factory.mktemp("log")
    options = Options(observers=[LogObserver(RequestLog(folder, key=KEY))])
    with DevServer(base_path, port=0, rest_port=0, options=options) as server:
        with grpc.insecure_channel(server.address) as channel:
            prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(
                predict_pb2.PredictRequest(
                    model_spec=model_pb2.ModelSpec(name=features.MODEL_NAME),
                    inputs={features.SERVING_INPUT: tf.make_tensor_proto([png(51), png(204)])},
                    output_filter=[features.SCORE],
                ),
                metadata=[(PATIENT, "14-9%20%C3%A9")],
                timeout=30,
            )
        body = json.dumps({"instances": [{"b64": b64encode(png(255)).decode()}]}).encode()
        url = f"http://{server.rest_address}/v1/models/{features.MODEL_NAME}:predict"
        urllib.request.urlopen(urllib.request.Request(url, body, {PATIENT: "14-2"})).close()
    return read_log([folder]).frame


def test_every_image_is_noted_with_all_that_the_model_said(logged: Any) -> None:
    assert logged[features.SCORE].tolist() == pytest.approx([0.2, 0.8, 1.0])
    assert logged[features.PREDICTED_LABEL].tolist() == ["benign", "malignant", "malignant"]
    assert logged[features.DISTANCE].tolist() == pytest.approx([0.8, 0.2, 0.0])
    assert logged[features.IN_DISTRIBUTION].tolist() == [False, True, True]
    assert logged[features.REASONS].tolist() == [["dark"], [], []]
    assert logged["version"].tolist() == [7, 7, 7]


def test_patients_come_by_header_and_metadata(logged: Any) -> None:
    of_grpc, of_rest = (pseudonym(patient, key=KEY) for patient in ("14-9 é", "14-2"))
    assert logged["patient"].tolist() == [of_grpc, of_grpc, of_rest]
