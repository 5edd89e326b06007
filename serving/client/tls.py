"""How a channel is encrypted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from pipeline.errors import UserError


@dataclass(frozen=True)
class Tls:
    """PEM files for an encrypted channel.

    `authority` holds the certificates that the server's is checked against; None: those that gRPC comes with.
    `certificate` and `key` are the client's own, for a server that asks for them.
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC takes; raises UserError where a file cannot be read or is of another kind."""
        if (self.certificate is None) != (self.key is None):
            raise UserError("a client's certificate and its key go together: give both or neither")
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.authority, "CERTIFICATE"),
            private_key=_read(self.key, "PRIVATE KEY"),
            certificate_chain=_read(self.certificate, "CERTIFICATE"),
        )


def _read(file: Path | None, kind: str) -> bytes | None:
    if file is None:
        return None
    try:
        text = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; give a PEM file") from error
    if f"{kind}-----".encode() not in text:
        raise UserError(f"{file} holds no {kind.lower()} in PEM form; give one that does")
    return text
