"""Status errors of the development server, for gRPC and HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode


class StatusError(Exception):
    """A request that is answered with a status other than OK."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message[:_MAX_LENGTH])
        self.code = code

    @classmethod
    def from_number(cls, number: int, message: str) -> StatusError:
        """Make an error from a numeric code, which TensorFlow's errors share with gRPC's."""
        return cls(_CODES.get(number, StatusCode.UNKNOWN), message)

    @property
    def http_status(self) -> int:
        """The HTTP status code."""
        return _HTTP.get(self.code, 500)


_MAX_LENGTH = 1024  # characters; gRPC drops a reply whose status message is too long; TF Serving's limit
_CODES = {code.value[0]: code for code in StatusCode}

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


def invalid_argument(message: str) -> StatusError:
    """An INVALID_ARGUMENT error: a request that no server could answer."""
    return StatusError(StatusCode.INVALID_ARGUMENT, message)


class MalformedMessageInterceptor(grpc.aio.ServerInterceptor):
    """Answers messages that cannot be parsed with INTERNAL, as gRPC's other servers do."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], call: grpc.HandlerCallDetails
    ) -> Any:
        """Wrap the handler of a unary call."""
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
