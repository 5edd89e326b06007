"""Answers predict, classify and metadata requests, over gRPC and REST alike."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone
from typing import Any, TypeVar
from urllib.parse import unquote

import numpy as np
import tensorflow as tf
from grpc import StatusCode
from numpy.typing import NDArray
from tensorflow_serving.apis import classification_pb2, get_model_metadata_pb2, model_pb2, predict_pb2

from knet.base import schema_names
from knet.serving.dev_server.batcher import Batcher
from knet.serving.dev_server.errors import StatusError, invalid_argument
from knet.serving.dev_server.loaded_version import (
    Arrays,
    LoadedVersion,
    Signature,
    predict_signature,
    requested_outputs,
)
from knet.serving.dev_server.metrics import Metrics
from knet.serving.dev_server.models import ServedModels
from knet.serving.dev_server.observers import Observer, ObserverQueue, RequestRecord
from knet.serving.dev_server.tensors import array_of, proto_of

_LOG = logging.getLogger(__name__)
_Reply = TypeVar("_Reply")


class Predictor:
    """Runs requests through models, batcher, metrics and observers.

    All methods must be called in the same event loop.
    """

    def __init__(
        self, models: ServedModels, batcher: Batcher, metrics: Metrics, *, observers: Sequence[Observer] = ()
    ) -> None:
        self._models = models
        self._batcher = batcher
        self._metrics = metrics
        self._observed = ObserverQueue(observers, on_drop=self._count_dropped) if observers else None

    def close(self) -> None:
        """Wait until the observers have got all records."""
        if self._observed:
            self._observed.close()

    async def with_metrics(
        self, answer: Callable[[], Awaitable[_Reply]], *, model: str, api: str, entrypoint: str
    ) -> _Reply:
        """Answer a request and record its latency and status.

        Args:
            answer: computes the reply.
            model: model name in the request; it may be unknown.
            api: such as Predict.
            entrypoint: GRPC or REST.

        Raises:
            StatusError: the request failed; an unexpected exception is INTERNAL.
        """
        started = time.perf_counter()
        code = StatusCode.CANCELLED
        # Every unknown name that a client sends would become a time series.
        known = model if model in self._models.names else "unknown"
        try:
            result = await answer()
            code = StatusCode.OK
            return result
        except StatusError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            raise
        except Exception as error:
            code = StatusCode.INTERNAL
            _LOG.exception("request failed with an unexpected error")
            raise StatusError(code, f"{type(error).__name__}: {error}") from error
        finally:
            seconds = time.perf_counter() - started
            self._metrics.count_request(
                model=known, api=api, entrypoint=entrypoint, code=code, seconds=seconds
            )

    async def predict(
        self, request: predict_pb2.PredictRequest, *, patient: str | None = None
    ) -> predict_pb2.PredictResponse:
        """Run a signature.

        Args:
            request: the message of the client.
            patient: value of `schema_names.PATIENT_HEADER`, percent-encoded.

        Raises:
            StatusError: the request is invalid, or the model failed.
        """
        started = time.perf_counter()
        spec = request.model_spec
        version = self._models.find(spec)
        signature = predict_signature(version, spec)
        arrays = {name: array_of(name, proto) for name, proto in request.inputs.items()}
        signature.check(arrays)
        wanted = requested_outputs(signature, request.output_filter)
        outputs = await self._run(version, signature, arrays, spec.name, api="Predict")
        if self._observed and schema_names.SERVING_INPUT in arrays:
            self._observed.put(
                RequestRecord(
                    time=datetime.now(timezone.utc),
                    seconds=time.perf_counter() - started,
                    model=spec.name,
                    version=version.number,
                    signature=signature.name,
                    images=tuple(arrays[schema_names.SERVING_INPUT].tolist()),
                    outputs=_observed_outputs(outputs),
                    patient=unquote(patient) if patient else None,
                )
            )
        return predict_pb2.PredictResponse(
            model_spec=_spec(spec.name, version, signature.name),
            outputs={alias: proto_of(outputs[alias]) for alias in wanted},
        )

    async def classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Classify tf.Examples.

        Raises:
            StatusError: the request is invalid, or the model failed.
        """
        spec = request.model_spec
        version = self._models.find(spec)
        signature = classification_signature(version, spec.signature_name)
        (alias,) = signature.inputs
        arrays = {alias: serialized_examples(request.input)}
        outputs = await self._run(version, signature, arrays, spec.name, api="Classify")
        return classification_pb2.ClassificationResponse(
            model_spec=_spec(spec.name, version, signature.name), result=classifications(outputs)
        )

    async def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """List the signatures of a version.

        Raises:
            StatusError: the request is invalid, or names an unknown version.
        """
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid_argument(f"Metadata field {name} is not supported")
        version = self._models.find(request.model_spec)
        reply = get_model_metadata_pb2.GetModelMetadataResponse(
            model_spec=_spec(request.model_spec.name, version, "")
        )
        reply.metadata["signature_def"].Pack(
            get_model_metadata_pb2.SignatureDefMap(signature_def=version.signature_defs)
        )
        return reply

    async def _run(
        self, version: LoadedVersion, signature: Signature, arrays: Arrays, model: str, *, api: str
    ) -> Arrays:
        started = time.perf_counter()
        outputs = await self._batcher.run(version, signature, arrays)
        self._metrics.observe_model(model=model, api=api, seconds=time.perf_counter() - started)
        return outputs

    def _count_dropped(self, record: RequestRecord) -> None:
        self._metrics.count_dropped(model=record.model, images=len(record.images))


def _spec(model: str, version: LoadedVersion, signature: str) -> model_pb2.ModelSpec:
    return model_pb2.ModelSpec(name=model, version={"value": version.number}, signature_name=signature)


_MAX_OBSERVED = 16  # values in a row of an output that observers get
_OBSERVED = (schema_names.CLASSES, schema_names.PROBABILITIES)  # of any number of classes


def _observed_outputs(outputs: Arrays) -> list[dict[str, Any]]:
    """The outputs of each image, without those that have long rows."""
    columns = {
        name: _plain_values(array)
        for name, array in outputs.items()
        if array.ndim == 1 or (array.ndim == 2 and (array.shape[1] <= _MAX_OBSERVED or name in _OBSERVED))
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain_values(array: NDArray[Any]) -> list[Any]:
    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(item) for item in value]
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    return [text(value) for value in array.tolist()]


_METHOD = tf.saved_model.CLASSIFY_METHOD_NAME
_CLASSES, _SCORES = tf.saved_model.CLASSIFY_OUTPUT_CLASSES, tf.saved_model.CLASSIFY_OUTPUT_SCORES


def classification_signature(version: LoadedVersion, name: str) -> Signature:
    """The signature that a classification request names, by default `serving_default`.

    Raises:
        StatusError: the version has no such signature, or it is not a classification signature.
    """
    name = name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    signature = version.signature(name)
    if signature is None:
        raise invalid_argument(f"No signature was found with the name: {name}")
    if signature.method != _METHOD:
        raise invalid_argument(
            f"Expected classification signature method_name to be {_METHOD}. Was: {signature.method}"
        )
    if set(signature.inputs) != {tf.saved_model.CLASSIFY_INPUTS} or set(signature.outputs) != {
        _CLASSES,
        _SCORES,
    }:
        raise invalid_argument(
            f"Signature {name} must have the input inputs and the outputs classes and scores"
        )
    return signature


def serialized_examples(message: Any) -> NDArray[Any]:
    """The serialized tf.Examples of an Input message, as an array of bytes.

    Raises:
        StatusError: there are none.
    """
    match message.WhichOneof("kind"):
        case "example_list":
            examples = [example.SerializeToString() for example in message.example_list.examples]
        case "example_list_with_context":
            # Concatenated messages parse as their union.
            context = message.example_list_with_context.context.SerializeToString()
            examples = [
                context + example.SerializeToString()
                for example in message.example_list_with_context.examples
            ]
        case _:
            examples = []
    if not examples:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = examples
    return array


def classifications(outputs: Arrays) -> classification_pb2.ClassificationResult:
    """Classes and scores of each example, as a message."""
    result = classification_pb2.ClassificationResult()
    for names, scores in zip(outputs[_CLASSES].tolist(), outputs[_SCORES].tolist(), strict=True):
        classes = result.classifications.add()
        for name, score in zip(names, scores, strict=True):
            classes.classes.add(label=name, score=score)
    return result
