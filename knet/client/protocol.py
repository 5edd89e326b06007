"""TF Serving's calls: methods, requests in batches, decoding of responses and errors."""

from __future__ import annotations

import re
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
    """A unary gRPC method: its path below `tensorflow.serving`, its request and its response class."""

    path: str
    request: Any
    response: Any

    def on(self, channel: Any) -> Any:
        """Return the callable of the method on a channel of `grpc` or `grpc.aio`."""
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


Result = TypeVar("Result")


@dataclass(frozen=True)
class Signature(Generic[Result]):
    """A signature whose input is a batch of images, with the decoder of its response."""

    name: str
    decode: Callable[[Any], list[Result]]


def _decode_predictions(response: Any) -> list[Prediction]:
    outputs = response.outputs
    labels = texts(outputs[schema_names.PREDICTED_LABEL])
    count = len(labels)

    def optional(name: str) -> Sequence[float | None]:
        return floats(outputs[name]) or (None,) * count

    names, probabilities, reasons = (
        rows(values, count=count)
        for values in (
            texts(outputs[schema_names.CLASSES]),
            floats(outputs[schema_names.PROBABILITIES]),
            texts(outputs[schema_names.REASONS]),
        )
    )
    fields: dict[str, Sequence[Any]] = {
        "label": labels,
        "score": floats(outputs[schema_names.SCORE]),
        "probabilities": [dict(zip(*row, strict=True)) for row in zip(names, probabilities, strict=True)],
        "in_distribution": booleans(outputs[schema_names.IN_DISTRIBUTION]),
        "reasons": [tuple(filter(None, row)) for row in reasons],
        "distance": floats(outputs[schema_names.DISTANCE]),
        "threshold": optional(schema_names.THRESHOLD),
        "positive_score": optional(schema_names.POSITIVE_SCORE),
    }
    version = response.model_spec.version.value
    return [
        Prediction(model_version=version, **dict(zip(fields, values, strict=True)))
        for values in zip(*fields.values(), strict=True)
    ]


def _decode_explanations(response: Any) -> list[Explanation]:
    labels = texts(response.outputs[schema_names.PREDICTED_LABEL])
    heat = response.outputs[schema_names.HEAT_MAP]
    height, version = heat.tensor_shape.dim[1].size, response.model_spec.version.value
    return [
        Explanation(label, score, tuple(map(tuple, rows(heat_map, count=height))), version)
        for label, score, heat_map in zip(
            labels,
            floats(response.outputs[schema_names.SCORE]),
            rows(floats(heat), count=len(labels)),
            strict=True,
        )
    ]


PREDICT_SIGNATURE: Final = Signature(schema_names.SERVING_SIGNATURE, _decode_predictions)
EXPLAIN_SIGNATURE: Final = Signature(schema_names.EXPLAIN_SIGNATURE, _decode_explanations)


_Value = TypeVar("_Value")


def texts(tensor: Any) -> list[str]:
    """Return the values of a string tensor in UTF-8."""
    return [text.decode() for text in tensor.string_val]


def booleans(tensor: Any) -> tuple[bool, ...]:
    """Return the values of a bool tensor; servers send them as booleans or as bytes."""
    return tuple(map(bool, tensor.tensor_content or tensor.bool_val))


def floats(tensor: Any) -> tuple[float, ...]:
    """Return the values of a float32 tensor; servers send them as numbers or as little-endian bytes."""
    if tensor.tensor_content:
        return struct.unpack(f"<{len(tensor.tensor_content) // 4}f", tensor.tensor_content)
    return tuple(tensor.float_val)


def rows(values: Sequence[_Value], *, count: int) -> list[Sequence[_Value]]:
    """Split values into `count` rows of equal length."""
    width = len(values) // count
    return [values[start : start + width] for start in range(0, len(values), width)]


Batch: TypeAlias = list[bytes | FailedPrediction]

_BATCH_BYTES: Final = 16 * 1024 * 1024  # limits the memory of concurrent requests


def batches(images: Iterable[Image], *, count: int) -> Iterator[Batch]:
    """Divide images into batches, reading them when they are needed.

    Args:
        images: Images, of any number.
        count: Most images in a batch. A batch of several images also has at most 16 MiB.

    Yields:
        Lists of encoded images, with a FailedPrediction for an image that cannot be read.
    """
    batch: Batch = []
    size = 0
    for image in map(read_image, images):
        image_size = 0 if isinstance(image, FailedPrediction) else len(image)
        if batch and (len(batch) == count or size + image_size > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(image)
        size += image_size
    if batch:
        yield batch


# Yields the images of the next request (an empty list: no request); expects its response or error to be sent.
RequestSteps: TypeAlias = Generator[list[bytes], Any, list[Result | FailedPrediction]]


def bisect_requests(
    batch: Batch, *, decode: Callable[[Any], list[Result]], target: str
) -> RequestSteps[Result]:
    """Request a batch; while the server rejects it because of an image or is too slow, request its halves.

    Args:
        batch: Encoded images; a FailedPrediction is not requested.
        decode: Decodes a response.
        target: Server that is named in the reason of a rejected image.

    Returns:
        A result for each image, in order.

    Raises:
        grpc.RpcError: An error that is not about images.
    """
    images = [image for image in batch if isinstance(image, bytes)]
    results = iter((yield from _bisect(images, decode=decode, target=target)))
    return [next(results) if isinstance(image, bytes) else image for image in batch]


def _bisect(
    images: list[bytes], *, decode: Callable[[Any], list[Result]], target: str
) -> RequestSteps[Result]:
    response = yield images
    if not images:
        return []
    if not isinstance(response, grpc.RpcError):
        return [*decode(response)]
    is_late = response.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    if not (rejects_images(response) or (is_late and len(images) > 1)):
        raise response
    if len(images) == 1:
        return [_rejection(response, target)]
    middle = len(images) // 2
    results: list[Result | FailedPrediction] = []
    for half in (images[:middle], images[middle:]):
        results += yield from _bisect(half, decode=decode, target=target)
    return results


def _rejection(error: Any, target: str) -> FailedPrediction:
    details = first_line(error)
    too_large = "larger than max" in details.lower() or re.search(r"at most \d+ pixels", details)
    remedy = "send a smaller image" if too_large else "send PNG or JPEG files"
    return FailedPrediction(f"{target} rejected the image: {remedy} ({details})")


def explain_error(error: Any, *, target: str, model: str, timeout: float) -> UserError | None:
    """Return the user-correctable error that corresponds to a gRPC error, or None for other errors.

    Args:
        error: A grpc.RpcError with a status.
        target: Server that was called, "host:port".
        model: Name of the requested model.
        timeout: Time limit of the call, in seconds.
    """
    details = first_line(error)
    code = grpc.StatusCode.NOT_FOUND if "servable" in details.lower() else error.code()
    unsupported = (
        f"{target} does not support this request for the model {model!r}: use another version ({details})"
    )
    messages = {
        grpc.StatusCode.UNAVAILABLE: (
            f"no model server answers at {target}: start one there, or give another host:port, or the TLS "
            f"files it needs ({details})"
        ),
        grpc.StatusCode.NOT_FOUND: (
            f"{target} does not serve the model {model!r}: give the name, version or label it is served "
            f"under ({details})"
        ),
        grpc.StatusCode.INVALID_ARGUMENT: unsupported,
        grpc.StatusCode.FAILED_PRECONDITION: unsupported,  # TF Serving's code for an unknown signature
        grpc.StatusCode.DEADLINE_EXCEEDED: (
            f"{target} did not answer within {timeout:g} seconds: give a longer timeout"
        ),
        grpc.StatusCode.UNAUTHENTICATED: f"{target} requires a valid token: give the server's ({details})",
        grpc.StatusCode.PERMISSION_DENIED: f"{target} rejects the token: give another ({details})",
        grpc.StatusCode.RESOURCE_EXHAUSTED: f"{target} is overloaded: try again later ({details})",
    }
    return UserError(messages[code]) if code in messages else None


def rejects_images(error: Any) -> bool:
    """Return whether an error is about the images of a request, so that a part of them may be accepted."""
    details = first_line(error).lower()
    if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return "message larger than max" in details
    about_model = "servable" in details or "signature" in details
    return error.code() == grpc.StatusCode.INVALID_ARGUMENT and not about_model


def first_line(error: Any) -> str:
    """Return the first line of a gRPC error's details; TensorFlow's further lines name nodes of the graph."""
    return (error.details() or "").partition("\n")[0]
