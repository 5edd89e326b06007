"""Who may ask: certificates and a token."""

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

_FREE_PREFIX = "/grpc.health.v1.Health/"  # probes bring no token


@dataclass(frozen=True)
class Tls:
    """The server's certificate; files in PEM."""

    certificate: Path
    key: Path
    client_authority: Path | None = None  # clients must show a certificate that it signed

    def of_grpc(self) -> grpc.ServerCredentials:
        """For gRPC; raises UserError where a file cannot be read."""
        authority = _read(self.client_authority) if self.client_authority else None
        return grpc.ssl_server_credentials(
            [(_read(self.key), _read(self.certificate))],
            root_certificates=authority,
            require_client_auth=authority is not None,
        )

    def of_http(self) -> ssl.SSLContext:
        """For REST; raises UserError where a file is no certificate or key."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_authority:
                context.load_verify_locations(self.client_authority)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:  # ssl.SSLError is one
            raise UserError(
                f"{self.certificate} and {self.key} are no certificate and key in PEM: {error}"
            ) from None
        return context


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Turns away calls without the token; health checks need none."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], call: grpc.HandlerCallDetails
    ) -> Any:
        """Goes on with the call, or refuses it."""
        sent = dict(call.invocation_metadata).get("authorization")
        if call.method.startswith(_FREE_PREFIX) or _matches(sent, self._token):
            return await continuation(call)

        async def refuse(request: Any, context: grpc.aio.ServicerContext) -> None:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "send the metadata authorization: Bearer <token>"
            )

        return grpc.unary_unary_rpc_method_handler(refuse)


def token_middleware(token: str, *, metrics_path: str | None) -> Any:
    """Turns away HTTP requests without the token; the page, its files and the metrics need none."""

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        free = request.path in ("/", metrics_path) or request.path.startswith("/page/")
        if not free and not _matches(request.headers.get("Authorization"), token):
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
