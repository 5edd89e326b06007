"""The client against the development server, and what it tells the user when something is wrong."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_service_pb2_grpc

from pipeline import features
from pipeline.errors import UserError
from serving.client import Client
from serving.dev_server import DevServer
from serving.prediction import Prediction

Png = Callable[[int], bytes]


@pytest.fixture(scope="module")
def client(server: DevServer) -> Iterator[Client]:
    with Client(server.address) as connected:
        yield connected


@contextmanager
def stub_server(predict: Callable[[Any, grpc.ServicerContext], Any]) -> Iterator[str]:
    """Serve one Predict function; gives the address."""
    servicer = prediction_service_pb2_grpc.PredictionServiceServicer()
    servicer.Predict = predict
    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def test_predicts_in_order(client: Client, server: DevServer, png: Png) -> None:
    dark, bright = client.predict([png(51), png(204)])
    assert (dark.label, dark.score, dark.model_version) == ("benign", pytest.approx(0.2), server.version)
    assert dark.probabilities == pytest.approx({"benign": 0.8, "malignant": 0.2})
    assert (bright.label, bright.score) == ("malignant", pytest.approx(0.8))
    assert (dark.in_distribution, dark.reasons, dark.distance) == (False, ("dark",), pytest.approx(0.8))
    assert (bright.in_distribution, bright.reasons) == (True, ())


def test_one_image(client: Client, png: Png) -> None:
    assert client.predict([png(255)])[0].probabilities == {"benign": 0.0, "malignant": 1.0}


def test_no_images(client: Client) -> None:
    assert client.predict([]) == []


def test_more_images_than_one_request_takes(client: Client, png: Png) -> None:
    levels = range(0, 250, 2)
    scores = [prediction.score for prediction in client.predict([png(level) for level in levels])]
    assert scores == pytest.approx([level / 255 for level in levels])


def test_requests_above_the_default_limit_of_grpc(client: Client) -> None:
    noise = tf.cast(tf.random.uniform([400, 400, 3], maxval=256, dtype=tf.int32, seed=1), tf.uint8)
    image = tf.io.encode_png(noise).numpy()
    assert 20 * len(image) > 4 * 1024 * 1024
    assert len(client.predict([image] * 20)) == 20


def test_files(client: Client, png: Png, tmp_path: Path) -> None:
    for name, level in (("a.png", 0), ("b.png", 255)):
        (tmp_path / name).write_bytes(png(level))
    labels = [
        prediction.label for prediction in client.predict_files([tmp_path / "a.png", tmp_path / "b.png"])
    ]
    assert labels == ["benign", "malignant"]


def test_missing_file(client: Client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.png: No such file"):
        client.predict_files([tmp_path / "gone.png"])


def test_empty_file(client: Client, tmp_path: Path) -> None:
    (tmp_path / "void.png").touch()
    with pytest.raises(UserError, match=r"void\.png is empty"):
        client.predict_files([tmp_path / "void.png"])


def test_bad_image(client: Client, png: Png) -> None:
    with pytest.raises(UserError, match=r"send PNG or JPEG files.*Unknown image file format"):
        client.predict([png(0), b"not an image"])


def test_unknown_model(server: DevServer, png: Png) -> None:
    with Client(server.address, model="other") as client, pytest.raises(UserError, match="model 'other'"):
        client.predict([png(0)])


def test_no_server(png: Png) -> None:
    with (
        Client("127.0.0.1:1") as client,
        pytest.raises(UserError, match=r"no model server .* 127\.0\.0\.1:1"),
    ):
        client.predict([png(0)])


def test_slow_server(png: Png) -> None:
    with (
        stub_server(lambda request, context: time.sleep(1)) as address,
        Client(address, timeout=0.2) as client,
        pytest.raises(UserError, match=r"within 0\.2 seconds"),
    ):
        client.predict([png(0)])


def test_other_errors_pass_as_they_are(png: Png) -> None:
    with (
        stub_server(lambda request, context: context.abort(grpc.StatusCode.DATA_LOSS, "lost")) as address,
        Client(address) as client,
        pytest.raises(grpc.RpcError) as caught,
    ):
        client.predict([png(0)])
    assert caught.value.code() == grpc.StatusCode.DATA_LOSS


def test_reads_values_sent_as_numbers(png: Png) -> None:
    # TF Serving sends float_val; the development server sends tensor_content for all but single values.
    def predict(request: predict_pb2.PredictRequest, context: grpc.ServicerContext) -> Any:
        reply = predict_pb2.PredictResponse(model_spec=model_pb2.ModelSpec(version={"value": 3}))
        reply.outputs[features.PROBABILITIES].float_val.extend([0.75, 0.25, 0.125, 0.875])
        reply.outputs[features.CLASSES].string_val.extend([b"benign", b"malignant"] * 2)
        reply.outputs[features.PREDICTED_LABEL].string_val.extend([b"benign", b"malignant"])
        reply.outputs[features.SCORE].float_val.extend([0.25, 0.875])
        reply.outputs[features.IN_DISTRIBUTION].bool_val.extend([True, False])
        reply.outputs[features.REASONS].string_val.extend([b""] * 5 + [b"blurred", b"", b"unlike"])
        reply.outputs[features.DISTANCE].float_val.extend([1.5, 9.5])
        return reply

    with stub_server(predict) as address, Client(address) as client:
        assert client.predict([png(0), png(1)]) == [
            Prediction("benign", 0.25, {"benign": 0.75, "malignant": 0.25}, 3, True, (), 1.5),
            Prediction(
                *("malignant", 0.875, {"benign": 0.125, "malignant": 0.875}, 3),
                *(False, ("blurred", "unlike"), 9.5),
            ),
        ]


def test_import_is_light() -> None:
    program = (
        "import sys, time; start = time.process_time(); import serving.client; "
        "print(time.process_time() - start); print(*{m.partition('.')[0] for m in sys.modules})"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    seconds, modules = output.splitlines()
    assert not {"tensorflow", "tensorflow_serving", "tfx", "numpy"} & set(modules.split())
    assert float(seconds) < 0.5
