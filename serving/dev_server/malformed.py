"""Answers messages that cannot be parsed: gRPC's asyncio server would log each as a fault of ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError


class MalformedInterceptor(grpc.aio.ServerInterceptor):
    """Refuses them as gRPC's other servers do."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], call: grpc.HandlerCallDetails
    ) -> Any:
        """Goes on with the call if its message can be parsed."""
        handler = await continuation(call)
        if handler is None or handler.unary_unary is None or handler.request_deserializer is None:
            return handler

        def parse(message: bytes) -> Any:
            try:
                return handler.request_deserializer(message)
            except DecodeError:
                return None

        async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
            if request is None:
                await context.abort(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
            return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(answer, parse, handler.response_serializer)
