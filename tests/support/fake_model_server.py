"""Fake model server without TensorFlow, with answers and failures that tests set."""

from __future__ import annotations

from concurrent import futures
from threading import Event, Lock
from typing import Any

import grpc

from knet.base import protos, schema_names

CLASSES = (b"benign", b"malignant")
THRESHOLD = 0.5


class FakeModelServer:
    """A gRPC server on a free port of this machine; the number in an image file is its score.

    The server rejects requests with an image without a number, except for PNG files, whose score is 0.25.
    It flags scores below 0.1 as out of distribution.

    Attributes:
        failures: Status and details of the errors to send for the next requests.
        seconds: Duration of each prediction.
        answers: Number of predictions to answer, None for all; later ones wait for `go_on`.
        go_on: Event that releases the predictions that wait.
        requests: Requests received, failed ones included.
        metadata: Headers of the last request.
        max_concurrency: Most requests at the same time.
        version: Version of the model in responses.
        returns_threshold: Whether responses have a threshold.
        address: "host:port" of the server, or that it was given.
    """

    def __init__(
        self, *, port: int = 0, address: str = "", credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self.failures: list[tuple[grpc.StatusCode, str]] = []
        self.seconds = 0.0
        self.answers: int | None = None
        self.go_on = Event()
        self._stopped = Event()
        self._predictions = 0
        self.requests: list[Any] = []
        self.metadata: dict[str, str] = {}
        self.max_concurrency = 0
        self.version = 7
        self.returns_threshold = True
        self._active, self._lock = 0, Lock()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(16),
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)],
        )
        services: dict[str, dict[str, Any]] = {
            "PredictionService": {
                "Predict": (self._predict, protos.PredictRequest),
                "GetModelMetadata": (self._describe, protos.GetModelMetadataRequest),
            },
            "ModelService": {"GetModelStatus": (self._status, protos.GetModelStatusRequest)},
        }
        for service, methods in services.items():
            handlers: dict[str, Any] = {
                name: grpc.unary_unary_rpc_method_handler(
                    call, request.FromString, lambda response: response.SerializeToString()
                )
                for name, (call, request) in methods.items()
            }
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", handlers),)
            )
        where = address or f"127.0.0.1:{port}"
        bound = (
            self._server.add_secure_port(where, credentials)
            if credentials
            else self._server.add_insecure_port(where)
        )
        self.address = address or f"127.0.0.1:{bound}"
        self._server.start()

    def stop(self) -> None:
        """Stop immediately and free the port."""
        self._stopped.set()
        self.go_on.set()
        self._server.stop(None).wait()

    @property
    def images(self) -> list[bytes]:
        """The images of all requests for predictions."""
        return [
            image
            for request in self.requests
            if request.DESCRIPTOR.name == "PredictRequest"
            and request.model_spec.signature_name == schema_names.SERVING_SIGNATURE
            for image in request.inputs[schema_names.SERVING_INPUT].string_val
        ]

    def _predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            self._active += 1
            self._predictions += 1
            held_back = self.answers is not None and self._predictions > self.answers
            self.max_concurrency = max(self.max_concurrency, self._active)
        try:
            self._record(request, context)
            self._stopped.wait(self.seconds)
            if held_back:
                self.go_on.wait()
            images = request.inputs[schema_names.SERVING_INPUT].string_val
            scores = [_score(image, context) for image in images]
        finally:
            with self._lock:
                self._active -= 1
        outputs = (
            _explanation(scores)
            if request.model_spec.signature_name == schema_names.EXPLAIN_SIGNATURE
            else _prediction(scores, returns_threshold=self.returns_threshold)
        )
        return protos.PredictResponse(
            model_spec={"version": {"value": self.version}},
            outputs={name: protos.TensorProto(**values) for name, values in outputs.items()},
        )

    def _status(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._record(request, context)
        return protos.GetModelStatusResponse(
            model_version_status=[
                {"version": 6, "state": "END", "status": {"error_message": "no file"}},
                {"version": 7, "state": "AVAILABLE"},
            ]
        )

    def _describe(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._record(request, context)
        signatures = protos.SignatureDefMap()
        for output in ("score", "heat_map"):
            signatures.signature_def["explain"].outputs[output].SetInParent()
        signatures.signature_def["features"].SetInParent()
        response = protos.GetModelMetadataResponse()
        response.metadata["signature_def"].value = signatures.SerializeToString()
        return response

    def _record(self, request: Any, context: grpc.ServicerContext) -> None:
        with self._lock:
            self.requests.append(request)
            self.metadata = {name: str(value) for name, value in context.invocation_metadata()}
            failure = self.failures.pop(0) if self.failures else None
        if failure:
            context.abort(*failure)


def _score(image: bytes, context: grpc.ServicerContext) -> float:
    if image.startswith(b"\x89PNG"):
        return 0.25
    try:
        return float(image.split()[0])
    except (ValueError, IndexError):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "must be PNG or JPEG\n\t [[node]]")
        raise  # unreachable: abort raises


def _prediction(scores: list[float], *, returns_threshold: bool) -> dict[str, Any]:
    positive = [score >= THRESHOLD for score in scores]
    outputs: dict[str, Any] = {
        schema_names.PROBABILITIES: {"float_val": [p for score in scores for p in (1 - score, score)]},
        schema_names.CLASSES: {"string_val": CLASSES * len(scores)},
        schema_names.PREDICTED_LABEL: {"string_val": [CLASSES[one] for one in positive]},
        schema_names.SCORE: {"float_val": scores},
        schema_names.IN_DISTRIBUTION: {"bool_val": [score >= 0.1 for score in scores]},
        schema_names.REASONS: {"string_val": [text for score in scores for text in _reasons(score)]},
        schema_names.DISTANCE: {"float_val": [1.5] * len(scores)},
    }
    if returns_threshold:
        outputs[schema_names.THRESHOLD] = {"float_val": [THRESHOLD] * len(scores)}
    return outputs


def _reasons(score: float) -> tuple[bytes, bytes]:
    return (b"", b"") if score >= 0.1 else (b"blurred", b"noisy")


def _explanation(scores: list[float]) -> dict[str, Any]:
    return {
        schema_names.HEAT_MAP: {
            "tensor_shape": {"dim": [{"size": len(scores)}, {"size": 2}, {"size": 3}]},
            "float_val": [value for score in scores for value in (0, 0.5, 1, 0, 0, score)],
        },
        schema_names.PREDICTED_LABEL: {"string_val": [CLASSES[score >= THRESHOLD] for score in scores]},
        schema_names.SCORE: {"float_val": scores},
    }
