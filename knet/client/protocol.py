"""The calls of TF Serving that the clients make."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

import grpc

from knet.base import protos, schema_names
from knet.base.errors import UserError
from knet.client.images import FailedPrediction, Image, read_image
from knet.client.results import Explanation, Prediction


@dataclass(frozen=True)
class Method:
    """One call: where it goes and the messages of it."""

    path: str
    request: Any
    response: Any

    def on(self, channel: Any) -> Any:
        """What makes the call, on a channel of `grpc` or of `grpc.aio`."""
        return channel.unary_unary(
            f"/tensorflow.serving.{self.path}",
            request_serializer=self.request.SerializeToString,
            response_deserializer=self.response.FromString,
        )


PREDICT: Final = Method("PredictionService/Predict", protos.PredictRequest, protos.PredictResponse)
MODEL_METADATA: Final = Method(
    "PredictionService/GetModelMetadata",
    protos.GetModelMetadataRequest,
    protos.GetModelMetadataResponse,
)
MODEL_STATUS: Final = Method(
    "ModelService/GetModelStatus", protos.GetModelStatusRequest, protos.GetModelStatusResponse
)


Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Signature(Generic[Answer]):
    """A signature that takes images, and what makes answers of its response."""

    signature: str
    read: Callable[[Any], list[Answer]]


def _predictions(response: Any) -> list[Prediction]:
    labels = texts(response.outputs[schema_names.PREDICTED_LABEL])
    count = len(labels)
    # A version from before models said so has none.
    thresholds = floats(response.outputs[schema_names.THRESHOLD]) or (None,) * count
    return [
        Prediction(
            label=label,
            score=score,
            probabilities=dict(zip(names, row, strict=True)),
            model_version=response.model_spec.version.value,
            in_distribution=verdict,
            reasons=tuple(filter(None, why)),
            distance=distance,
            threshold=threshold,
        )
        for label, score, names, row, verdict, why, distance, threshold in zip(
            labels,
            floats(response.outputs[schema_names.SCORE]),
            rows(texts(response.outputs[schema_names.CLASSES]), count=count),
            rows(floats(response.outputs[schema_names.PROBABILITIES]), count=count),
            booleans(response.outputs[schema_names.IN_DISTRIBUTION]),
            rows(texts(response.outputs[schema_names.REASONS]), count=count),
            floats(response.outputs[schema_names.DISTANCE]),
            thresholds,
            strict=True,
        )
    ]


def _explanations(response: Any) -> list[Explanation]:
    labels = texts(response.outputs[schema_names.PREDICTED_LABEL])
    heat = response.outputs[schema_names.HEAT_MAP]
    height, version = heat.tensor_shape.dim[1].size, response.model_spec.version.value
    return [
        Explanation(label, score, tuple(map(tuple, rows(one, count=height))), version)
        for label, score, one in zip(
            labels,
            floats(response.outputs[schema_names.SCORE]),
            rows(floats(heat), count=len(labels)),
            strict=True,
        )
    ]


PREDICT_SIGNATURE = Signature(schema_names.SERVING_SIGNATURE, _predictions)
EXPLAIN_SIGNATURE = Signature(schema_names.EXPLAIN_SIGNATURE, _explanations)


_Value = TypeVar("_Value")


def texts(tensor: Any) -> list[str]:
    """Of a string tensor in UTF-8."""
    return [text.decode() for text in tensor.string_val]


def booleans(tensor: Any) -> tuple[bool, ...]:
    """Of a bool tensor; servers send them as booleans or as bytes."""
    return tuple(map(bool, tensor.tensor_content or tensor.bool_val))


def floats(tensor: Any) -> tuple[float, ...]:
    """Of a float32 tensor; servers send them as numbers or as little-endian bytes."""
    if tensor.tensor_content:
        return struct.unpack(f"<{len(tensor.tensor_content) // 4}f", tensor.tensor_content)
    return tuple(tensor.float_val)


def rows(values: Sequence[_Value], *, count: int) -> list[Sequence[_Value]]:
    """As many equal parts, one after the other."""
    width = len(values) // count
    return [values[start : start + width] for start in range(0, len(values), width)]


# Yields the images of a request (none: there is nothing to send), is sent the response or the error.
RequestSteps: TypeAlias = Generator[list[bytes], Any, list[Answer | FailedPrediction]]


def bisect_requests(
    batch: Batch, *, read: Callable[[Any], list[Answer]], target: str
) -> RequestSteps[Answer]:
    """Asks about a batch; where the server refuses it, about its halves, down to the image it means.

    Returns an answer for each image, in order. Errors that are not about images are raised.
    """
    answers = iter((yield from _bisect([i for i in batch if isinstance(i, bytes)], read=read, target=target)))
    return [next(answers) if isinstance(image, bytes) else image for image in batch]


def _bisect(images: list[bytes], *, read: Callable[[Any], list[Answer]], target: str) -> RequestSteps[Answer]:
    reply = yield images
    if not images:
        return []
    if not isinstance(reply, grpc.RpcError):
        return [*read(reply)]
    if not refuses_images(reply):
        raise reply
    if len(images) == 1:
        said = first_line(reply)
        return [FailedPrediction(f"{target} refused the image: send PNG or JPEG files. It said: {said}")]
    answers: list[Answer | FailedPrediction] = []
    for half in (images[: len(images) // 2], images[len(images) // 2 :]):
        answers += yield from _bisect(half, read=read, target=target)
    return answers


Batch: TypeAlias = list[bytes | FailedPrediction]

_BYTES: Final = 16 * 1024 * 1024  # of a request of several images, so that requests under way stay small


def batches(images: Iterable[Image], *, count: int) -> Iterator[Batch]:
    """At most `count` images each, and 16 MiB unless one image alone is larger; read when they are needed."""
    batch: Batch = []
    size = 0
    for image in map(read_image, images):
        weight = 0 if isinstance(image, FailedPrediction) else len(image)
        if batch and (len(batch) == count or size + weight > _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(image)
        size += weight
    if batch:
        yield batch


def explain_error(error: Any, *, target: str, model: str, timeout: float) -> UserError | None:
    """The error to raise instead; None for one that is not the user's to mend.

    Args:
        error: a grpc.RpcError with a status.
        target: that was asked.
        model: that it was asked for.
        timeout: seconds it was given.
    """
    details = first_line(error)
    code = grpc.StatusCode.NOT_FOUND if "servable" in details.lower() else error.code()
    lacking = (
        f"{target} cannot answer this about the model {model!r}: ask another version. It said: {details}"
    )
    texts = {
        grpc.StatusCode.UNAVAILABLE: (
            f"no model server answers at {target}: start one there, or give another host:port, or the TLS it "
            f"wants ({details})"
        ),
        grpc.StatusCode.NOT_FOUND: (
            f"{target} does not serve the model {model!r} ({details}): give the name, version or label it is "
            "served under"
        ),
        grpc.StatusCode.INVALID_ARGUMENT: lacking,
        grpc.StatusCode.FAILED_PRECONDITION: lacking,  # how TF Serving says that there is no such signature
        grpc.StatusCode.DEADLINE_EXCEEDED: (
            f"{target} gave no answer within {timeout:g} seconds: give it more time"
        ),
        grpc.StatusCode.UNAUTHENTICATED: f"{target} wants another token ({details}): give the one it knows",
        grpc.StatusCode.PERMISSION_DENIED: f"{target} refuses this token ({details}): give another",
        grpc.StatusCode.RESOURCE_EXHAUSTED: f"{target} has too much to do ({details}): ask it again later",
    }
    return UserError(texts[code]) if code in texts else None


def refuses_images(error: Any) -> bool:
    """Whether it is about the images of a request, so that fewer of them may be answered."""
    details = first_line(error).lower()
    if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return "message larger than max" in details
    about_model = "servable" in details or "signature" in details
    return error.code() == grpc.StatusCode.INVALID_ARGUMENT and not about_model


def first_line(error: Any) -> str:
    """What the server said; TensorFlow's further lines name nodes of the graph."""
    return (error.details() or "").partition("\n")[0]
