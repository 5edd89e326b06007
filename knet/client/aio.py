"""Asks a served model from within asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc

from knet.client import protocol
from knet.client.connection import BaseClient, read_signatures, read_status
from knet.client.images import FailedPrediction, Image
from knet.client.protocol import (
    EXPLAIN_SIGNATURE,
    PREDICT_SIGNATURE,
    Answer,
    Batch,
    Signature,
    batches,
    bisect_requests,
)
from knet.client.results import Explanation, Prediction, VersionStatus, unwrap


class AsyncClient(BaseClient):
    """As `Client`, for asyncio: an asynchronous context manager, for one event loop."""

    _api = grpc.aio

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """As `Client.close`."""
        await self._channel.close()

    async def predict(self, images: Iterable[Image]) -> list[Prediction]:
        """As `Client.predict`."""
        return await self._all(images, PREDICT_SIGNATURE)

    def predict_each(self, images: Iterable[Image]) -> AsyncIterator[Prediction | FailedPrediction]:
        """As `Client.predict_each`; files are read in a thread."""
        return self._each(images, PREDICT_SIGNATURE)

    async def explain(self, images: Iterable[Image]) -> list[Explanation]:
        """As `Client.explain`."""
        return await self._all(images, EXPLAIN_SIGNATURE)

    async def status(self) -> list[VersionStatus]:
        """As `Client.status`."""
        return read_status(await self._ask(protocol.MODEL_STATUS, self._status_request()))

    async def signatures(self) -> dict[str, tuple[str, ...]]:
        """As `Client.signatures`."""
        return read_signatures(await self._ask(protocol.MODEL_METADATA, self._metadata_request()))

    async def _ask(self, method: protocol.Method, request: Any) -> Any:
        try:
            return await method.on(self._channel)(request, **self._call_settings())
        except grpc.RpcError as error:
            raise self._explained(error) from error

    async def _all(self, images: Iterable[Image], question: Signature[Answer]) -> list[Answer]:
        listed = list(images)
        answers = [answer async for answer in self._each(listed, question)]
        pairs = zip(listed, answers, strict=True)
        return [unwrap(answer, image=image, number=n) for n, (image, answer) in enumerate(pairs)]

    async def _each(
        self, images: Iterable[Image], question: Signature[Answer]
    ) -> AsyncIterator[Answer | FailedPrediction]:
        under_way: deque[asyncio.Task[list[Answer | FailedPrediction]]] = deque()
        left = batches(images, count=self._batch)
        try:
            while (batch := await asyncio.to_thread(next, left, None)) is not None:
                under_way.append(asyncio.create_task(self._settle(batch, question)))
                if len(under_way) == self._concurrency:
                    for answer in await under_way.popleft():
                        yield answer
            while under_way:
                for answer in await under_way.popleft():
                    yield answer
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _settle(self, batch: Batch, question: Signature[Answer]) -> list[Answer | FailedPrediction]:
        """Make the requests of a batch."""
        steps = bisect_requests(batch, read=question.read, target=self._target)
        images = next(steps)
        try:
            while True:
                images = steps.send(await self._outcome(images, question.signature))
        except StopIteration as done:
            return done.value
        except grpc.RpcError as error:
            raise self._explained(error) from error

    async def _outcome(self, images: list[bytes], signature: str) -> Any:
        """The response or the error; None where there is nothing to send."""
        if not images:
            return None
        try:
            return await self._predict(self._predict_request(images, signature), **self._call_settings())
        except grpc.RpcError as error:
            return error
