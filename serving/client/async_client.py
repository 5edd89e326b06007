"""Asks a served model from within asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc

from serving.client import methods
from serving.client.bad_image import BadImage
from serving.client.base_client import BaseClient, read_signatures, read_status
from serving.client.batches import Batch, batches
from serving.client.exchange import exchange
from serving.client.explanation import Explanation
from serving.client.questions import EXPLAIN, PREDICT, Answer, Question
from serving.client.read_image import Image
from serving.client.require import require
from serving.client.version_status import VersionStatus
from serving.prediction import Prediction


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
        return await self._all(images, PREDICT)

    def predict_each(self, images: Iterable[Image]) -> AsyncIterator[Prediction | BadImage]:
        """As `Client.predict_each`; files are read in a thread."""
        return self._each(images, PREDICT)

    async def explain(self, images: Iterable[Image]) -> list[Explanation]:
        """As `Client.explain`."""
        return await self._all(images, EXPLAIN)

    async def status(self) -> list[VersionStatus]:
        """As `Client.status`."""
        return read_status(await self._ask(methods.MODEL_STATUS, self._status_request()))

    async def signatures(self) -> dict[str, tuple[str, ...]]:
        """As `Client.signatures`."""
        return read_signatures(await self._ask(methods.MODEL_METADATA, self._metadata_request()))

    async def _ask(self, method: methods.Method, request: Any) -> Any:
        try:
            return await method.on(self._channel)(request, **self._call_settings())
        except grpc.RpcError as error:
            raise self._explained(error) from error

    async def _all(self, images: Iterable[Image], question: Question[Answer]) -> list[Answer]:
        listed = list(images)
        answers = [answer async for answer in self._each(listed, question)]
        pairs = zip(listed, answers, strict=True)
        return [require(answer, image=image, number=n) for n, (image, answer) in enumerate(pairs)]

    async def _each(
        self, images: Iterable[Image], question: Question[Answer]
    ) -> AsyncIterator[Answer | BadImage]:
        under_way: deque[asyncio.Task[list[Answer | BadImage]]] = deque()
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

    async def _settle(self, batch: Batch, question: Question[Answer]) -> list[Answer | BadImage]:
        """Make the requests of a batch."""
        steps = exchange(batch, read=question.read, target=self._target)
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
