"""Neither malformed messages nor hostile images harm the server; KNET_FUZZ is how many messages are sent."""

from __future__ import annotations

import os
import random
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from knet.client import Client
from knet.models.images import decode_and_measure
from knet.serving.dev_server.server import DevServer, Options
from knet.serving.models_config import Batching

_MESSAGES = int(os.environ.get("KNET_FUZZ", "10000"))
_CONCURRENT = 100
# INTERNAL would be a fault of the server, except for messages that cannot be parsed.
_EXPECTED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
}
_PREFIX = "/tensorflow.serving.PredictionService/"


@pytest.fixture(scope="module")
def batching(base_path: Path) -> Iterator[DevServer]:
    """A server with batching parameters."""
    options = Options(batching=Batching(max_batch_size=32, max_enqueued_batches=64), max_message_bytes=2**20)
    with DevServer(base_path, port=0, rest_port=0, options=options) as server:
        yield server


def valid_messages(image: bytes) -> dict[str, list[bytes]]:
    """Requests by the path of their call."""
    spec = {"name": "knet", "version": {"value": 7}}
    predict = predict_pb2.PredictRequest(model_spec=spec, output_filter=["score", "label"])
    predict.inputs["image"].CopyFrom(tf.make_tensor_proto([image, image]))
    double = predict_pb2.PredictRequest(model_spec={**spec, "signature_name": "double"})
    double.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
    add = predict_pb2.PredictRequest(model_spec={**spec, "signature_name": "add"})
    for name in ("a", "b"):
        add.inputs[name].CopyFrom(tf.make_tensor_proto([[1.0, 2.0]]))
    classify = classification_pb2.ClassificationRequest(model_spec={**spec, "signature_name": "classify"})
    example = classify.input.example_list.examples.add()
    example.features.feature["image/encoded"].bytes_list.value.append(image)
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec, metadata_field=["signature_def"]
    )
    status = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
    return {
        f"{_PREFIX}Predict": [message.SerializeToString() for message in (predict, double, add)],
        f"{_PREFIX}Classify": [classify.SerializeToString()],
        f"{_PREFIX}GetModelMetadata": [metadata.SerializeToString()],
        "/tensorflow.serving.ModelService/GetModelStatus": [status.SerializeToString()],
    }


def mutate(message: bytes, dice: random.Random) -> bytes:
    """Change, delete, duplicate or insert a few bytes."""
    content = bytearray(message)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(content) + 1)
        match dice.randrange(5):
            case 0 if at < len(content):
                content[at] ^= 1 << dice.randrange(8)
            case 1 if at < len(content):
                content[at] = dice.choice([0, 1, 0x7F, 0x80, 0xFF])
            case 2:
                content[at:at] = dice.randbytes(dice.randint(1, 8))
            case 3:
                del content[at : at + dice.randint(1, 16)]
            case _:
                content[at:at] = content[at : at + dice.randint(1, 32)]
    return bytes(content)


def is_healthy(server: DevServer, png: Callable[[int], bytes]) -> bool:
    with grpc.insecure_channel(server.address) as channel, Client(server.address) as client:
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        (prediction,) = client.predict([png(51)])
    return check.status == health_pb2.HealthCheckResponse.SERVING and prediction.label == "benign"


@pytest.mark.slow
def test_server_survives_malformed_messages(
    batching: DevServer, png: Callable[[int], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    dice = random.Random(0)
    sources = [(path, message) for path, messages in valid_messages(png(51)).items() for message in messages]
    codes: Counter[grpc.StatusCode] = Counter()
    with grpc.insecure_channel(batching.address) as channel:
        calls: dict[str, Any] = {path: channel.unary_unary(path) for path, _ in sources}
        sent = 0
        while sent < _MESSAGES:
            chosen = [dice.choice(sources) for _ in range(min(_CONCURRENT, _MESSAGES - sent))]
            running = [
                (calls[path].future(mutate(message, dice), timeout=60), message) for path, message in chosen
            ]
            for call, _ in running:
                codes[call.code()] += 1
                if call.code() not in _EXPECTED:
                    details = call.details() or ""
                    assert "deserializing" in details, (call.code(), details)
            sent += len(running)
    assert sum(codes.values()) == _MESSAGES
    assert codes[grpc.StatusCode.INVALID_ARGUMENT] > _MESSAGES / 20  # many were parsed, and refused
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert is_healthy(batching, png)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bomb(side: int) -> bytes:
    """A complete PNG of one bit a pixel, all black, which compresses a thousandfold."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 7) // 8 + 1) * side, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def hostile_images(good: bytes, jpeg: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "a zero": b"\0",
        "text": b"<svg/>" * 100,
        "truncated in the header": good[:20],
        "truncated in the pixels": good[:-30],
        "truncated JPEG": jpeg[: len(jpeg) // 2],
        "only the start of a PNG": good[:8],
        "only the start of a JPEG": jpeg[:3],
        "GIF": b"GIF89a" + bytes(50),
        "BMP": b"BM" + bytes(50),
        "no width": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 9, 8, 2, 0, 0, 0)),
        "PNG of 30,000 pixels a side": png_bomb(30_000),
        "PNG of 20,000 pixels a side": png_bomb(20_000),
    }


class Decoder(tf.Module):
    """Decodes images like the exported models."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels, _ = decode_and_measure(image, size=8)
        return {"mean": tf.reduce_mean(tf.cast(pixels, tf.float32), axis=(1, 2, 3))}


def test_server_refuses_only_hostile_images_of_a_batch(tmp_path: Path, png: Callable[[int], bytes]) -> None:
    decoder = Decoder()
    tf.saved_model.save(decoder, str(tmp_path / "1"), signatures={"serving_default": decoder.serve})
    good = png(51)
    jpeg = tf.io.encode_jpeg(tf.io.decode_png(good)).numpy()
    options = Options(batching=Batching(max_batch_size=32, batch_timeout_micros=20_000))
    with (
        DevServer(tmp_path, port=0, options=options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        call = channel.unary_unary(
            f"{_PREFIX}Predict",
            request_serializer=predict_pb2.PredictRequest.SerializeToString,
            response_deserializer=predict_pb2.PredictResponse.FromString,
        )

        def future(image: bytes) -> Any:
            request = predict_pb2.PredictRequest(model_spec={"name": "knet"})
            request.inputs["image"].CopyFrom(tf.make_tensor_proto([image], tf.string, [1]))
            return call.future(request, timeout=60)

        hostile = {name: future(image) for name, image in hostile_images(good, jpeg).items()}
        valid = [future(good) for _ in range(4)]
        assert {name: f.code() for name, f in hostile.items()} == dict.fromkeys(
            hostile, grpc.StatusCode.INVALID_ARGUMENT
        )
        for side in ("30,000", "20,000"):
            assert "at most 64000000 pixels" in hostile[f"PNG of {side} pixels a side"].details()
        assert {f.code() for f in valid} == {grpc.StatusCode.OK}
