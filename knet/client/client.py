"""Asks a served model, and waits for its answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import grpc

from knet.client import protocol
from knet.client.connection import BaseClient, read_signatures, read_status
from knet.client.images import FailedPrediction, Image
from knet.client.protocol import (
    EXPLAIN_SIGNATURE,
    PREDICT_SIGNATURE,
    Answer,
    RequestSteps,
    Signature,
    batches,
    bisect_requests,
)
from knet.client.results import Explanation, Prediction, VersionStatus, unwrap


class Client(BaseClient):
    """A `BaseClient` for programs that wait; a context manager. Threads may share one.

    An image is the path of a PNG or JPEG file, the bytes of one, or a uint8 array [rows, columns, 3] in RGB.
    """

    _api = grpc

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; the client cannot be used again."""
        self._channel.close()

    def predict(self, images: Iterable[Image]) -> list[Prediction]:
        """Classify images: a prediction each, in their order.

        Raises UserError for an image that cannot be read or is refused, by its file or its number.
        """
        return self._all(images, PREDICT_SIGNATURE)

    def predict_each(self, images: Iterable[Image]) -> Iterator[Prediction | FailedPrediction]:
        """Classify images one after the other, however many; they are read as they are needed.

        Yields a prediction each, in their order, or why there is none.
        """
        return self._each(images, PREDICT_SIGNATURE)

    def explain(self, images: Iterable[Image]) -> list[Explanation]:
        """Say what speaks for the label of images, and where; otherwise as `predict`."""
        return self._all(images, EXPLAIN_SIGNATURE)

    def status(self) -> list[VersionStatus]:
        """The versions that the server knows, the newest first."""
        return read_status(self._ask(protocol.MODEL_STATUS, self._status_request()))

    def signatures(self) -> dict[str, tuple[str, ...]]:
        """What the model can be asked: each signature with the names of its outputs."""
        return read_signatures(self._ask(protocol.MODEL_METADATA, self._metadata_request()))

    def _ask(self, method: protocol.Method, request: Any) -> Any:
        try:
            return method.on(self._channel)(request, **self._call_settings())
        except grpc.RpcError as error:
            raise self._explained(error) from error

    def _all(self, images: Iterable[Image], question: Signature[Answer]) -> list[Answer]:
        listed = list(images)
        answers = self._each(listed, question)
        pairs = zip(listed, answers, strict=True)
        return [unwrap(answer, image=image, number=n) for n, (image, answer) in enumerate(pairs)]

    def _each(
        self, images: Iterable[Image], question: Signature[Answer]
    ) -> Iterator[Answer | FailedPrediction]:
        under_way: deque[tuple[RequestSteps[Answer], Any]] = deque()
        try:
            for batch in batches(images, count=self._batch):
                steps = bisect_requests(batch, read=question.read, target=self._target)
                under_way.append((steps, self._send(next(steps), question.signature)))
                if len(under_way) == self._concurrency:
                    yield from self._finish(*under_way.popleft(), question.signature)
            while under_way:
                yield from self._finish(*under_way.popleft(), question.signature)
        finally:
            for _, call in under_way:
                if call is not None:
                    call.cancel()

    def _finish(
        self, steps: RequestSteps[Answer], call: Any, signature: str
    ) -> list[Answer | FailedPrediction]:
        """Wait for a request, and make those that follow from what comes back."""
        try:
            while True:
                call = self._send(steps.send(_outcome(call)), signature)
        except StopIteration as done:
            return done.value
        except grpc.RpcError as error:
            raise self._explained(error) from error

    def _send(self, images: list[bytes], signature: str) -> Any:
        """The call under way; None where there is nothing to send."""
        if not images:
            return None
        return self._predict.future(self._predict_request(images, signature), **self._call_settings())


def _outcome(call: Any) -> Any:
    """The response or the error."""
    try:
        return None if call is None else call.result()
    except grpc.RpcError as error:
        return error
