"""TLS and bearer-token authentication of the development server."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web

from knet.base.errors import UserError


@dataclass(frozen=True)
class Tls:
    """TLS files of the server (PEM)."""

    certificate: Path
    key: Path
    client_ca: Path | None = None  # CA bundle; requires client certificates signed by it

    def server_credentials(self) -> grpc.ServerCredentials:
        """Credentials for gRPC.

        Raises:
            UserError: a file cannot be read.
        """
        client_ca = _read(self.client_ca) if self.client_ca else None
        return grpc.ssl_server_credentials(
            [(_read(self.key), _read(self.certificate))],
            root_certificates=client_ca,
            require_client_auth=client_ca is not None,
        )

    def ssl_context(self) -> ssl.SSLContext:
        """SSL context for REST.

        Raises:
            UserError: a file is not a certificate or key.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:  # ssl.SSLError is one
            raise UserError(
                f"{self.certificate} and {self.key} are not a certificate and its key in PEM: {error}"
            ) from None
        return context


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Rejects gRPC calls without the token; health checks need none."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], call: grpc.HandlerCallDetails
    ) -> Any:
        """Continue the call if it has the token, else abort it with UNAUTHENTICATED."""
        sent = dict(call.invocation_metadata).get("authorization")
        if call.method.startswith("/grpc.health.v1.Health/") or _matches(sent, self._token):
            return await continuation(call)

        async def refuse(request: Any, context: grpc.aio.ServicerContext) -> None:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "send the metadata authorization: Bearer <token>"
            )

        return grpc.unary_unary_rpc_method_handler(refuse)


def token_middleware(token: str, *, metrics_path: str | None) -> Any:
    """Middleware that rejects HTTP requests without the token; the page and the metrics need none.

    Args:
        token: the bearer token.
        metrics_path: URL path of the metrics; None if they are not exposed.
    """

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path not in ("/", metrics_path) and not _matches(
            request.headers.get("Authorization"), token
        ):
            return web.json_response(
                {"error": "send the header Authorization: Bearer <token>"},
                status=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        return await handler(request)

    return check


def _matches(sent: str | bytes | None, token: str) -> bool:
    text = sent.decode(errors="replace") if isinstance(sent, bytes) else sent or ""
    return hmac.compare_digest(text.encode(), f"Bearer {token}".encode())


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
