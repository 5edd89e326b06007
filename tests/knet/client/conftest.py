"""A fake model server, and calls of both clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_model_server import FakeModelServer
from serving_fixtures import base_path, png, saved_model, server

from knet.client import AsyncClient, Client

Ask = Callable[..., Any]


@pytest.fixture
def fake() -> Iterator[FakeModelServer]:
    server = FakeModelServer()
    yield server
    server.stop()


@pytest.fixture(params=["sync", "asyncio"])
def ask(request: pytest.FixtureRequest, fake: FakeModelServer) -> Ask:
    """Call a method of a client of the fake server, or of another server, with some settings."""
    return _ask(fake) if request.param == "sync" else _ask_async(fake)


def _ask(fake: FakeModelServer) -> Ask:
    def call(
        method: str,
        *images: Any,
        target: str | None = None,
        arguments: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Any:
        with Client(target or fake.address, **settings) as client:
            answer = getattr(client, method)(*images, **arguments or {})
            return list(answer) if isinstance(answer, Iterator) else answer

    return call


def _ask_async(fake: FakeModelServer) -> Ask:
    async def call_async(
        method: str, *images: Any, target: str | None, arguments: dict[str, Any] | None, **settings: Any
    ) -> Any:
        async with AsyncClient(target or fake.address, **settings) as client:
            answer = getattr(client, method)(*images, **arguments or {})
            return [one async for one in answer] if hasattr(answer, "__aiter__") else await answer

    def call(
        method: str,
        *images: Any,
        target: str | None = None,
        arguments: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Any:
        return asyncio.run(call_async(method, *images, target=target, arguments=arguments, **settings))

    return call
