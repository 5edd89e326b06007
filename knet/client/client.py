"""Blocking client of a served model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from knet.client import protocol
from knet.client.connection import BaseClient, read_signatures, read_status
from knet.client.images import FailedPrediction, Image, check_is_several
from knet.client.protocol import (
    EXPLAIN_SIGNATURE,
    PREDICT_SIGNATURE,
    RequestSteps,
    Result,
    Signature,
    batches,
    bisect_requests,
)
from knet.client.results import Explanation, Prediction, VersionStatus, unwrap


class Client(BaseClient):
    """A blocking client; a context manager. Threads may share one.

    An image is the path of an image file, the content of one as bytes, or a uint8 array [rows, columns, 3] in
    RGB. PNG and JPEG files are sent unchanged; TIFF, BMP and WebP files as PNG, which needs Pillow.
    """

    _api = grpc

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; the client cannot be used again."""
        self._channel.close()

    def predict(self, images: Iterable[Image], *, patient: str | None = None) -> list[Prediction]:
        """Classify images.

        Args:
            images: Images, of any number.
            patient: Patient of all the images, for the request log of the development server, which stores a
                keyed hash of it. TF Serving ignores it.

        Returns:
            A prediction for each image, in order.

        Raises:
            UserError: An image cannot be read or the server rejects it; the message has its path or index.
        """
        return self._collect(images, PREDICT_SIGNATURE, patient)

    def predict_each(
        self, images: Iterable[Image], *, patient: str | None = None
    ) -> Iterator[Prediction | FailedPrediction]:
        """Classify a stream of images, which are read when they are needed.

        Args:
            images: Images, of any number.
            patient: Patient of all the images, as for `predict`.

        Yields:
            For each image, in order, a prediction, or the reason why there is none.
        """
        check_is_several(images)
        return self._stream(images, PREDICT_SIGNATURE, patient)

    def explain(self, images: Iterable[Image], *, patient: str | None = None) -> list[Explanation]:
        """Compute the heat maps (Grad-CAM) of the predicted labels of images.

        Arguments and errors are those of `predict`.
        """
        return self._collect(images, EXPLAIN_SIGNATURE, patient)

    def status(self) -> list[VersionStatus]:
        """Return the versions of the model that the server knows, the newest first."""
        return read_status(self._call(protocol.MODEL_STATUS, self._status_request()))

    def signatures(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the outputs of each signature of the model, by the signature's name."""
        return read_signatures(self._call(protocol.MODEL_METADATA, self._metadata_request()))

    def _call(self, method: protocol.Method, request: Any) -> Any:
        try:
            return method.on(self._channel)(request, **self._call_settings())
        except grpc.RpcError as error:
            raise self._user_error(error) from error

    def _collect(
        self, images: Iterable[Image], signature: Signature[Result], patient: str | None
    ) -> list[Result]:
        check_is_several(images)
        listed = list(images)
        results = self._stream(listed, signature, patient)
        pairs = zip(listed, results, strict=True)
        return [unwrap(result, image=image, index=n) for n, (image, result) in enumerate(pairs)]

    def _stream(
        self, images: Iterable[Image], signature: Signature[Result], patient: str | None
    ) -> Iterator[Result | FailedPrediction]:
        def send(images: list[bytes]) -> Any:
            """Start a request and return its future; None if there are no images."""
            if not images:
                return None
            request = self._predict_request(images, signature.name)
            return self._predict.future(request, **self._call_settings(patient))

        pending: deque[tuple[RequestSteps[Result], Any]] = deque()
        try:
            for batch in batches(images, count=self._batch):
                steps = bisect_requests(batch, decode=signature.decode, target=self._target)
                pending.append((steps, send(next(steps))))
                if len(pending) == self._concurrency:
                    yield from self._resolve(*pending.popleft(), send)
            while pending:
                yield from self._resolve(*pending.popleft(), send)
        finally:
            for _, call in pending:
                if call is not None:
                    call.cancel()

    def _resolve(
        self, steps: RequestSteps[Result], call: Any, send: Callable[[list[bytes]], Any]
    ) -> list[Result | FailedPrediction]:
        """Wait for a batch's first request, then make those that its response requires."""
        try:
            while True:
                call = send(steps.send(_response(call)))
        except StopIteration as end:
            return end.value
        except grpc.RpcError as error:
            raise self._user_error(error) from error


def _response(call: Any) -> Any:
    """Wait for a future and return its response or its error."""
    try:
        return None if call is None else call.result()
    except grpc.RpcError as error:
        return error
