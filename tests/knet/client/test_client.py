"""The client against the development server, and the cost of its import."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
import tensorflow as tf
from PIL import Image

from knet.base import schema_names
from knet.base.errors import UserError
from knet.client import Client, VersionStatus
from knet.serving.dev_server.server import DevServer

Png = Callable[[int], bytes]


@pytest.fixture(scope="module")
def client(server: DevServer) -> Iterator[Client]:
    with Client(server.address) as connected:
        yield connected


def test_predict_returns_predictions_in_order(client: Client, server: DevServer, png: Png) -> None:
    dark, bright = client.predict([png(51), png(204)])
    assert (dark.label, dark.score, dark.model_version) == ("benign", pytest.approx(0.2), server.version)
    assert dark.probabilities == pytest.approx({"benign": 0.8, "malignant": 0.2})
    assert (bright.label, bright.score) == ("malignant", pytest.approx(0.8))
    assert (dark.in_distribution, dark.reasons, dark.distance) == (False, ("dark",), pytest.approx(0.8))
    assert (bright.in_distribution, bright.reasons) == (True, ())


def test_predict_one_image(client: Client, png: Png) -> None:
    assert client.predict([png(255)])[0].probabilities == {"benign": 0.0, "malignant": 1.0}


def test_predict_sends_array_as_png(client: Client) -> None:
    pixels = tf.fill([8, 9, 3], tf.constant(51, tf.uint8)).numpy()
    assert client.predict([pixels])[0].score == pytest.approx(0.2)


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "WEBP"])
def test_predict_sends_other_formats_as_png(client: Client, kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 32), (51, 51, 51)).save(
        buffer, kind, **({"lossless": True} if kind == "WEBP" else {})
    )
    assert client.predict([buffer.getvalue()])[0].score == pytest.approx(0.2)


def test_predict_divides_images_into_requests(client: Client, png: Png) -> None:
    levels = range(0, 250, 2)
    scores = [prediction.score for prediction in client.predict([png(level) for level in levels])]
    assert scores == pytest.approx([level / 255 for level in levels])


def test_predict_request_above_default_limit_of_grpc(server: DevServer) -> None:
    noise = tf.cast(tf.random.uniform([400, 400, 3], maxval=256, dtype=tf.int32, seed=1), tf.uint8)
    image = tf.io.encode_png(noise).numpy()
    assert 20 * len(image) > 4 * 1024 * 1024
    with Client(server.address, batch=20) as client:
        assert len(client.predict([image] * 20)) == 20


def test_predict_bad_image_is_an_error(client: Client, png: Png) -> None:
    with pytest.raises(UserError, match=r"^image 1: .*send PNG or JPEG files.*Unknown image file format"):
        client.predict([png(0), b"not an image", png(0)])


def test_predict_unknown_model_is_an_error(server: DevServer, png: Png) -> None:
    with Client(server.address, model="other") as client, pytest.raises(UserError, match="model 'other'"):
        client.predict([png(0)])


def test_predict_unknown_version_is_an_error(server: DevServer, png: Png) -> None:
    with Client(server.address, version=6) as client, pytest.raises(UserError, match="does not serve"):
        client.predict([png(0)])


def test_status_and_signatures(client: Client, server: DevServer) -> None:
    assert VersionStatus(server.version, "AVAILABLE", "") in client.status()
    assert set(client.signatures()) >= {schema_names.SERVING_SIGNATURE, "double"}


def test_explain_without_signature_is_an_error(client: Client, png: Png) -> None:
    with pytest.raises(
        UserError, match=r"does not support this request for the model 'knet'.*\"explain\" not found"
    ):
        client.explain([png(0)])


def test_predict_without_server_is_an_error(png: Png) -> None:
    with (
        Client("127.0.0.1:1", retries=0) as client,
        pytest.raises(UserError, match=r"no model server .* 127\.0\.0\.1:1"),
    ):
        client.predict([png(0)])
