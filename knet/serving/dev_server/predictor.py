"""Answers requests, whichever way they came in."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from knet.serving.dev_server.metrics import Metrics, Observer, RequestRecord
from knet.serving.dev_server.models import (
    Arrays,
    LoadedVersion,
    ServedModels,
    Signature,
    predict_signature,
    requested_outputs,
)
from knet.serving.dev_server.tensors import array_of, proto_of

_LOG = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")
_SHORT = 16  # values of a row that an observer is still given


class Predictor:
    """Models, batches, metrics and observers together; all methods belong to one event loop."""

    def __init__(
        self, models: ServedModels, batcher: Batcher, metrics: Metrics, *, observers: Sequence[Observer] = ()
    ) -> None:
        self._models = models
        self._batcher = batcher
        self._metrics = metrics
        self._observers = observers
        self._observing = ThreadPoolExecutor(1, thread_name_prefix="observe")

    def close(self) -> None:
        """Ends the observers' thread when they have seen what there was."""
        self._observing.shutdown()

    async def measured(
        self, answer: Callable[[], Awaitable[_Answer]], *, model: str, api: str, entrypoint: str
    ) -> _Answer:
        """Awaits an answer and counts it.

        Args:
            answer: gives it.
            model: that was asked, by the client's word.
            api: such as Predict.
            entrypoint: GRPC or REST.

        Raises:
            Refusal: whatever went wrong.
        """
        started = time.perf_counter()
        code = StatusCode.CANCELLED
        # A stranger's names would become as many time series.
        known = model if model in self._models.names else "unknown"
        try:
            result = await answer()
            code = StatusCode.OK
            return result
        except StatusError as refusal:
            code = refusal.code
            raise
        except asyncio.CancelledError:
            raise
        except Exception as error:
            code = StatusCode.INTERNAL
            _LOG.exception("a request failed in the server")
            raise StatusError(code, f"{type(error).__name__}: {error}") from error
        finally:
            seconds = time.perf_counter() - started
            self._metrics.answered(model=known, api=api, entrypoint=entrypoint, code=code, seconds=seconds)

    async def predict(
        self, request: predict_pb2.PredictRequest, *, patient: str | None = None
    ) -> predict_pb2.PredictResponse:
        """Runs one signature; raises Refusal.

        Args:
            request: as it came.
            patient: whose images they are, as the header `PATIENT` has it.
        """
        started = time.perf_counter()
        spec = request.model_spec
        version = self._models.find(spec)
        signature = predict_signature(version, spec)
        arrays = {name: array_of(name, proto) for name, proto in request.inputs.items()}
        signature.check(arrays)
        wanted = requested_outputs(signature, request.output_filter)
        outputs = await self._run(version, signature, arrays, spec.name, api="Predict")
        if self._observers and schema_names.SERVING_INPUT in arrays:
            await self._observe(spec.name, version, signature, arrays, outputs, started, patient)
        return predict_pb2.PredictResponse(
            model_spec=_spec(spec.name, version, signature.name),
            outputs={alias: proto_of(outputs[alias]) for alias in wanted},
        )

    async def classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Classifies examples; raises Refusal."""
        spec = request.model_spec
        version = self._models.find(spec)
        signature = classification_signature(version, spec.signature_name)
        (alias,) = signature.inputs
        arrays = {alias: examples_of(request.input)}
        outputs = await self._run(version, signature, arrays, spec.name, api="Classify")
        return classification_pb2.ClassificationResponse(
            model_spec=_spec(spec.name, version, signature.name), result=classifications(outputs)
        )

    async def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Lists the signatures of a version; raises Refusal."""
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
        self._metrics.ran(model=model, api=api, seconds=time.perf_counter() - started)
        return outputs

    async def _observe(
        self,
        model: str,
        version: LoadedVersion,
        signature: Signature,
        arrays: Arrays,
        outputs: Arrays,
        started: float,
        patient: str | None,
    ) -> None:
        record = RequestRecord(
            time=datetime.now(timezone.utc),
            seconds=time.perf_counter() - started,
            model=model,
            version=version.number,
            signature=signature.name,
            images=tuple(arrays[schema_names.SERVING_INPUT].tolist()),
            answers=_answers(outputs),
            patient=unquote(patient) if patient else None,
        )
        await asyncio.get_running_loop().run_in_executor(self._observing, self._tell, record)

    def _tell(self, record: RequestRecord) -> None:
        for observer in self._observers:
            try:
                observer.observe(record)
            except Exception:
                _LOG.exception("%s failed", type(observer).__name__)


def _spec(model: str, version: LoadedVersion, signature: str) -> model_pb2.ModelSpec:
    return model_pb2.ModelSpec(name=model, version={"value": version.number}, signature_name=signature)


def _answers(outputs: Arrays) -> list[dict[str, Any]]:
    """The rows of the outputs that are short enough, by image."""
    columns = {
        name: _values(array)
        for name, array in outputs.items()
        if array.ndim == 1 or (array.ndim == 2 and array.shape[1] <= _SHORT)
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values(array: NDArray[Any]) -> list[Any]:
    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(item) for item in value]
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    return [text(value) for value in array.tolist()]


_METHOD = tf.saved_model.CLASSIFY_METHOD_NAME
_CLASSES, _SCORES = tf.saved_model.CLASSIFY_OUTPUT_CLASSES, tf.saved_model.CLASSIFY_OUTPUT_SCORES


def classification_signature(version: LoadedVersion, name: str) -> Signature:
    """The signature that a classification request asks.

    Raises:
        Refusal: there is none of that name, or it is none for Classify.
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
        raise invalid_argument(f"Signature {name} does not take inputs and give classes and scores")
    return signature


def examples_of(sent: Any) -> NDArray[Any]:
    """The serialised examples of an Input.

    Raises:
        Refusal: there are none.
    """
    match sent.WhichOneof("kind"):
        case "example_list":
            examples = [example.SerializeToString() for example in sent.example_list.examples]
        case "example_list_with_context":
            # Two messages one after the other read as their union.
            context = sent.example_list_with_context.context.SerializeToString()
            examples = [
                context + example.SerializeToString() for example in sent.example_list_with_context.examples
            ]
        case _:
            examples = []
    if not examples:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = examples
    return array


def classifications(outputs: Arrays) -> classification_pb2.ClassificationResult:
    """The classes and scores of each example."""
    result = classification_pb2.ClassificationResult()
    for names, scores in zip(outputs[_CLASSES].tolist(), outputs[_SCORES].tolist(), strict=True):
        one = result.classifications.add()
        for name, score in zip(names, scores, strict=True):
            one.classes.add(label=name, score=score)
    return result
