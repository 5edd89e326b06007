"""Asks a served model, and waits for its answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import grpc

from serving.client import methods
from serving.client.bad_image import BadImage
from serving.client.base_client import BaseClient, read_signatures, read_status
from serving.client.batches import batches
from serving.client.exchange import Exchange, exchange
from serving.client.explanation import Explanation
from serving.client.questions import EXPLAIN, PREDICT, Answer, Question
from serving.client.read_image import Image
from serving.client.require import require
from serving.client.version_status import VersionStatus
from serving.prediction import Prediction


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
        return self._all(images, PREDICT)

    def predict_each(self, images: Iterable[Image]) -> Iterator[Prediction | BadImage]:
        """Classify images one after the other, however many; they are read as they are needed.

        Yields a prediction each, in their order, or why there is none.
        """
        return self._each(images, PREDICT)

    def explain(self, images: Iterable[Image]) -> list[Explanation]:
        """Say what speaks for the label of images, and where; otherwise as `predict`."""
        return self._all(images, EXPLAIN)

    def status(self) -> list[VersionStatus]:
        """The versions that the server knows, the newest first."""
        return read_status(self._ask(methods.MODEL_STATUS, self._status_request()))

    def signatures(self) -> dict[str, tuple[str, ...]]:
        """What the model can be asked: each signature with the names of its outputs."""
        return read_signatures(self._ask(methods.MODEL_METADATA, self._metadata_request()))

    def _ask(self, method: methods.Method, request: Any) -> Any:
        try:
            return method.on(self._channel)(request, **self._call_settings())
        except grpc.RpcError as error:
            raise self._explained(error) from error

    def _all(self, images: Iterable[Image], question: Question[Answer]) -> list[Answer]:
        listed = list(images)
        answers = self._each(listed, question)
        pairs = zip(listed, answers, strict=True)
        return [require(answer, image=image, number=n) for n, (image, answer) in enumerate(pairs)]

    def _each(self, images: Iterable[Image], question: Question[Answer]) -> Iterator[Answer | BadImage]:
        under_way: deque[tuple[Exchange[Answer], Any]] = deque()
        try:
            for batch in batches(images, count=self._batch):
                steps = exchange(batch, read=question.read, target=self._target)
                under_way.append((steps, self._send(next(steps), question.signature)))
                if len(under_way) == self._concurrency:
                    yield from self._finish(*under_way.popleft(), question.signature)
            while under_way:
                yield from self._finish(*under_way.popleft(), question.signature)
        finally:
            for _, call in under_way:
                if call is not None:
                    call.cancel()

    def _finish(self, steps: Exchange[Answer], call: Any, signature: str) -> list[Answer | BadImage]:
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
