"""Client of a served model for asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc

from knet.client import protocol
from knet.client.connection import BaseClient, read_signatures, read_status
from knet.client.images import FailedPrediction, Image, check_is_several
from knet.client.protocol import (
    EXPLAIN_SIGNATURE,
    PREDICT_SIGNATURE,
    Batch,
    Result,
    Signature,
    batches,
    bisect_requests,
)
from knet.client.results import Explanation, Prediction, VersionStatus, unwrap


class AsyncClient(BaseClient):
    """The methods of `Client` as coroutines; an asynchronous context manager, for one event loop."""

    _api = grpc.aio

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """See `Client.close`."""
        await self._channel.close()

    async def predict(self, images: Iterable[Image], *, patient: str | None = None) -> list[Prediction]:
        """See `Client.predict`."""
        return await self._collect(images, PREDICT_SIGNATURE, patient)

    def predict_each(
        self, images: Iterable[Image], *, patient: str | None = None
    ) -> AsyncIterator[Prediction | FailedPrediction]:
        """See `Client.predict_each`; files are read in a thread."""
        check_is_several(images)
        return self._stream(images, PREDICT_SIGNATURE, patient)

    async def explain(self, images: Iterable[Image], *, patient: str | None = None) -> list[Explanation]:
        """See `Client.explain`."""
        return await self._collect(images, EXPLAIN_SIGNATURE, patient)

    async def status(self) -> list[VersionStatus]:
        """See `Client.status`."""
        return read_status(await self._call(protocol.MODEL_STATUS, self._status_request()))

    async def signatures(self) -> dict[str, tuple[str, ...]]:
        """See `Client.signatures`."""
        return read_signatures(await self._call(protocol.MODEL_METADATA, self._metadata_request()))

    async def _call(self, method: protocol.Method, request: Any) -> Any:
        try:
            return await method.on(self._channel)(request, **self._call_settings())
        except grpc.RpcError as error:
            raise self._user_error(error) from error

    async def _collect(
        self, images: Iterable[Image], signature: Signature[Result], patient: str | None
    ) -> list[Result]:
        check_is_several(images)
        listed = list(images)
        results = [result async for result in self._stream(listed, signature, patient)]
        pairs = zip(listed, results, strict=True)
        return [unwrap(result, image=image, index=n) for n, (image, result) in enumerate(pairs)]

    async def _stream(
        self, images: Iterable[Image], signature: Signature[Result], patient: str | None
    ) -> AsyncIterator[Result | FailedPrediction]:
        pending: deque[asyncio.Task[list[Result | FailedPrediction]]] = deque()
        remaining = batches(images, count=self._batch)
        try:
            while (batch := await asyncio.to_thread(next, remaining, None)) is not None:
                pending.append(asyncio.create_task(self._resolve(batch, signature, patient)))
                if len(pending) == self._concurrency:
                    for result in await pending.popleft():
                        yield result
            while pending:
                for result in await pending.popleft():
                    yield result
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _resolve(
        self, batch: Batch, signature: Signature[Result], patient: str | None
    ) -> list[Result | FailedPrediction]:
        """Make the requests of a batch."""
        steps = bisect_requests(batch, decode=signature.decode, target=self._target)
        images = next(steps)
        try:
            while True:
                images = steps.send(await self._response(images, signature.name, patient))
        except StopIteration as end:
            return end.value
        except grpc.RpcError as error:
            raise self._user_error(error) from error

    async def _response(self, images: list[bytes], signature: str, patient: str | None) -> Any:
        """Make a request and return its response or its error; None if there are no images."""
        if not images:
            return None
        try:
            request = self._predict_request(images, signature)
            return await self._predict(request, **self._call_settings(patient))
        except grpc.RpcError as error:
            return error
