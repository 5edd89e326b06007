"""Why a request is not answered, as gRPC and HTTP say it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode

_CHARACTERS = 1024  # gRPC drops a reply whose status text is too long; TF Serving cuts there too

# TF Serving's own mapping (ToHTTPStatusCode of its http_server.cc).
_HTTP: Final = {
    StatusCode.CANCELLED: 499,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.DEADLINE_EXCEEDED: 504,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.ABORTED: 409,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.UNAUTHENTICATED: 401,
}
_BY_NUMBER = {code.value[0]: code for code in StatusCode}


class StatusError(Exception):
    """A request that is answered with a status other than OK."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message[:_CHARACTERS])
        self.code = code

    @classmethod
    def numbered(cls, number: int, message: str) -> StatusError:
        """One whose code is a number, as in TensorFlow's errors, which bear the same as gRPC's."""
        return cls(_BY_NUMBER.get(number, StatusCode.UNKNOWN), message)

    @property
    def http_status(self) -> int:
        """What HTTP calls it."""
        return _HTTP.get(self.code, 500)


def invalid_argument(message: str) -> StatusError:
    """A request that no server could answer."""
    return StatusError(StatusCode.INVALID_ARGUMENT, message)


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
