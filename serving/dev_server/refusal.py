"""Why a request is not answered, as gRPC and HTTP say it."""

from __future__ import annotations

from typing import Final

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


class Refusal(Exception):  # noqa: N818 (it is an answer, not a fault of the server)
    """A request that is answered with a status other than OK."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message[:_CHARACTERS])
        self.code = code

    @classmethod
    def numbered(cls, number: int, message: str) -> Refusal:
        """One whose code is a number, as in TensorFlow's errors, which bear the same as gRPC's."""
        return cls(_BY_NUMBER.get(number, StatusCode.UNKNOWN), message)

    @property
    def http_status(self) -> int:
        """What HTTP calls it."""
        return _HTTP.get(self.code, 500)


def invalid(message: str) -> Refusal:
    """A request that no server could answer."""
    return Refusal(StatusCode.INVALID_ARGUMENT, message)
