"""Asks a served model over gRPC; needs neither TensorFlow nor NumPy, so that it imports at once."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc

from pipeline import features
from pipeline.errors import UserError
from serving import messages
from serving.prediction import Prediction

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_MESSAGE_BYTES = 64 * 1024 * 1024
_THIS_MACHINE = ("localhost", "127.0.0.1")
_Value = TypeVar("_Value")
_BATCH = 32  # images in one request, so that a long list of files stays below _MESSAGE_BYTES


class Client:
    """One model of a TF Serving or development server, over an unencrypted channel; a context manager.

    `target` is "host:port", `model` the served name, and `timeout` the seconds to wait for each request.
    The server need not be up yet: the first prediction connects.
    """

    def __init__(
        self,
        target: str = "localhost:8500",
        *,
        model: str = features.MODEL_NAME,
        timeout: float = 30.0,
    ) -> None:
        self._target = target
        self._model = model
        self._timeout = timeout
        self._channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.max_send_message_length", _MESSAGE_BYTES),
                ("grpc.max_receive_message_length", _MESSAGE_BYTES),
                # gRPC would send even calls to this machine through the web proxy that http_proxy names.
                ("grpc.enable_http_proxy", int(target.partition(":")[0] not in _THIS_MACHINE)),
            ],
        )
        self._call = self._channel.unary_unary(
            _PREDICT,
            request_serializer=messages.PredictRequest.SerializeToString,
            response_deserializer=messages.PredictResponse.FromString,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; the client cannot be used again."""
        self._channel.close()

    def predict(self, images: Sequence[bytes]) -> list[Prediction]:
        """Classify images, each the bytes of a PNG or JPEG file, in requests of at most 32.

        Returns one prediction an image, in their order. Raises UserError when no server answers in time,
        when it does not serve the model, or when it refuses an image; other gRPC errors pass as they are.
        """
        batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
        return [prediction for batch in batches for prediction in self._predict(batch)]

    def predict_files(self, paths: Sequence[Path]) -> list[Prediction]:
        """Classify PNG or JPEG files; as `predict`, and raises UserError for an unreadable or empty file."""
        return self.predict([_read(path) for path in paths])

    def _predict(self, images: Sequence[bytes]) -> list[Prediction]:
        request = messages.PredictRequest(
            model_spec=messages.ModelSpec(name=self._model, signature_name=features.SERVING_SIGNATURE),
            inputs={
                features.SERVING_INPUT: messages.TensorProto(
                    dtype="DT_STRING", tensor_shape={"dim": [{"size": len(images)}]}, string_val=images
                )
            },
            output_filter=[
                features.PROBABILITIES,
                features.CLASSES,
                features.PREDICTED_LABEL,
                features.SCORE,
                features.IN_DISTRIBUTION,
                features.REASONS,
                features.DISTANCE,
            ],
        )
        try:
            return _predictions(self._call(request, timeout=self._timeout))
        except grpc.RpcError as error:
            text = self._explanation(error)
            if text is None:
                raise
            raise UserError(text) from error

    def _explanation(self, error: Any) -> str | None:
        """Say what the user can do about a gRPC error; None for one that is not theirs to mend."""
        details = (error.details() or "").partition("\n")[0]  # TensorFlow's further lines name graph nodes
        return {
            grpc.StatusCode.UNAVAILABLE: (
                f"no model server answers at {self._target}: start one there, or give another host:port"
            ),
            grpc.StatusCode.NOT_FOUND: (
                f"{self._target} does not serve the model {self._model!r} ({details}): "
                "give the name it is served under"
            ),
            grpc.StatusCode.INVALID_ARGUMENT: (
                f"{self._target} refused the images: send PNG or JPEG files. It said: {details}"
            ),
            grpc.StatusCode.DEADLINE_EXCEEDED: (
                f"{self._target} gave no answer within {self._timeout:g} seconds: give it more time"
            ),
        }.get(error.code())


def _read(path: Path) -> bytes:
    try:
        image = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a PNG or JPEG file") from error
    if not image:
        raise UserError(f"{path} is empty; give a PNG or JPEG file")
    return image


def _predictions(response: Any) -> list[Prediction]:
    labels = _texts(response.outputs[features.PREDICTED_LABEL])
    scores = _floats(response.outputs[features.SCORE])
    probabilities = _floats(response.outputs[features.PROBABILITIES])
    classes = _texts(response.outputs[features.CLASSES])
    reasons = _texts(response.outputs[features.REASONS])
    return [
        Prediction(
            label=label,
            score=score,
            probabilities=dict(zip(names, row, strict=True)),
            model_version=response.model_spec.version.value,
            in_distribution=verdict,
            reasons=tuple(filter(None, why)),
            distance=distance,
        )
        for label, score, names, row, verdict, why, distance in zip(
            labels,
            scores,
            _rows(classes, images=len(labels)),
            _rows(probabilities, images=len(labels)),
            _booleans(response.outputs[features.IN_DISTRIBUTION]),
            _rows(reasons, images=len(labels)),
            _floats(response.outputs[features.DISTANCE]),
            strict=True,
        )
    ]


def _rows(values: Sequence[_Value], *, images: int) -> list[Sequence[_Value]]:
    """The rows of a tensor, one an image."""
    width = len(values) // images
    return [values[start : start + width] for start in range(0, len(values), width)]


def _texts(tensor: Any) -> list[str]:
    return [text.decode() for text in tensor.string_val]


def _booleans(tensor: Any) -> tuple[bool, ...]:
    """Values of a bool tensor in row order; servers send them as booleans or as bytes."""
    return tuple(map(bool, tensor.tensor_content or tensor.bool_val))


def _floats(tensor: Any) -> tuple[float, ...]:
    """Values of a float32 tensor in row order; servers send them as numbers or as little-endian bytes."""
    if tensor.tensor_content:
        return struct.unpack(f"<{len(tensor.tensor_content) // 4}f", tensor.tensor_content)
    return tuple(tensor.float_val)
