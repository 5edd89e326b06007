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

    Of more than two classes an image file holds the probability of each, and the lowest decides the flag. The
    server rejects requests with an image without a number, except for PNG files, whose score is 0.25.
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
        classes: Names of the classes.
        group: Labels of the positive group of more than two classes.
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
        self.classes: tuple[bytes, ...] = CLASSES
        self.group: tuple[int, ...] = ()
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
            probabilities = [self._probabilities(image, context) for image in images]
        finally:
            with self._lock:
                self._active -= 1
        outputs = (
            self._explanation(probabilities)
            if request.model_spec.signature_name == schema_names.EXPLAIN_SIGNATURE
            else self._prediction(probabilities)
        )
        return protos.PredictResponse(
            model_spec={"version": {"value": self.version}},
            outputs={name: protos.TensorProto(**values) for name, values in outputs.items()},
        )

    def _probabilities(self, image: bytes, context: grpc.ServicerContext) -> tuple[float, ...]:
        """Read the probability of each class from an image file."""
        if image.startswith(b"\x89PNG"):
            return (0.75, 0.25, *(0.0,) * (len(self.classes) - 2))
        try:
            first, *others = map(float, image.split()[: len(self.classes) if len(self.classes) > 2 else 1])
        except ValueError:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "must be PNG or JPEG\n\t [[node]]")
            raise  # unreachable: abort raises
        return (first, *others) if others else (1 - first, first)

    def _decide(self, probabilities: tuple[float, ...]) -> tuple[bytes, float]:
        """Return label and score."""
        if len(self.classes) > 2:
            score = max(probabilities)
            return self.classes[probabilities.index(score)], score
        return self.classes[probabilities[1] >= THRESHOLD], probabilities[1]

    def _prediction(self, probabilities: list[tuple[float, ...]]) -> dict[str, Any]:
        labels, scores = zip(*map(self._decide, probabilities), strict=True)
        in_distribution = [(row[1] if len(row) == 2 else min(row)) >= 0.1 for row in probabilities]
        outputs: dict[str, Any] = {
            schema_names.PROBABILITIES: {"float_val": [p for row in probabilities for p in row]},
            schema_names.CLASSES: {"string_val": self.classes * len(probabilities)},
            schema_names.PREDICTED_LABEL: {"string_val": labels},
            schema_names.SCORE: {"float_val": scores},
            schema_names.IN_DISTRIBUTION: {"bool_val": in_distribution},
            schema_names.REASONS: {
                "string_val": [text for fine in in_distribution for text in _reasons(fine)]
            },
            schema_names.DISTANCE: {"float_val": [1.5] * len(probabilities)},
        }
        if self.returns_threshold and (len(self.classes) == 2 or self.group):
            outputs[schema_names.THRESHOLD] = {"float_val": [THRESHOLD] * len(probabilities)}
        if self.group:
            of_group = [sum(row[label] for label in self.group) for row in probabilities]
            outputs[schema_names.POSITIVE_SCORE] = {"float_val": of_group}
        return outputs

    def _explanation(self, probabilities: list[tuple[float, ...]]) -> dict[str, Any]:
        labels, scores = zip(*map(self._decide, probabilities), strict=True)
        return {
            schema_names.HEAT_MAP: {
                "tensor_shape": {"dim": [{"size": len(scores)}, {"size": 2}, {"size": 3}]},
                "float_val": [value for score in scores for value in (0, 0.5, 1, 0, 0, score)],
            },
            schema_names.PREDICTED_LABEL: {"string_val": labels},
            schema_names.SCORE: {"float_val": scores},
        }

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


def _reasons(in_distribution: bool) -> tuple[bytes, bytes]:
    return (b"", b"") if in_distribution else (b"blurred", b"noisy")
