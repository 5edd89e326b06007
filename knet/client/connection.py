"""What the clients have in common: whom they ask, and in what words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import grpc

from knet.base import protos, schema_names
from knet.base.errors import UserError
from knet.client import protocol
from knet.client.protocol import explain_error
from knet.client.results import VersionStatus

_SIGNATURES = "signature_def"  # the one field of metadata that there is


MOST_RETRIES: Final = 4  # gRPC makes five attempts and no more


class BaseClient:
    """One model of a TF Serving or development server.

    The server need not be up yet: the first call connects. Every method raises UserError when no server
    answers in time, when it does not serve the model, or when it wants another token; other gRPC errors pass
    as they are.
    """

    _api: Any  # `grpc` or `grpc.aio`, whose channel it is

    def __init__(
        self,
        target: str = "localhost:8500",
        *,
        model: str = schema_names.MODEL_NAME,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        retries: int = MOST_RETRIES,
        batch: int = 8,
        concurrency: int = 4,
        tls: Tls | None = None,
        token: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Says whom to ask, and how; nothing is sent yet.

        Args:
            target: "host:port".
            model: the name it is served under.
            version: the one to ask; None: the newest.
            label: of the version to ask, such as `stable`, in place of its number.
            timeout: seconds for each request, its retries included.
            retries: how often a request is made again while the server is unavailable, 0 to 4.
            batch: images in one request, at most; it also ends at 16 MiB.
            concurrency: requests under way at a time, at most.
            tls: encrypts the channel; None: nothing does.
            token: sent as `authorization: Bearer <token>`.
            metadata: further headers of every call, their names in small letters.

        Raises:
            UserError: a value is out of its bounds, a file of `tls` cannot be read, or a token would go
                unencrypted to another machine.
        """
        if timeout <= 0 or batch < 1 or concurrency < 1 or not 0 <= retries <= MOST_RETRIES:
            raise UserError(
                f"timeout ({timeout:g}) must be above 0, batch ({batch}) and concurrency ({concurrency}) "
                f"1 or more, retries ({retries}) 0 to {MOST_RETRIES}"
            )
        if version is not None and label is not None:
            raise UserError(f"version {version} and label {label!r}: give the one or the other")
        if token is not None and tls is None and not on_this_machine(target):
            raise UserError(f"the token would go to {target} unencrypted: give tls too")
        self._target = target
        self._model = model
        self._which: dict[str, Any] = {} if version is None else {"version": {"value": version}}
        if label is not None:
            self._which["version_label"] = label
        self._timeout = timeout
        self._batch = batch
        self._concurrency = concurrency
        self._credentials = tls and tls.credentials()
        self._options = channel_options(target, retries=retries)
        self._headers = call_headers(token, metadata or {})

    @cached_property
    def _channel(self) -> Any:
        """Made by the first call, so that one of `grpc.aio` belongs to the loop that it runs in."""
        if self._credentials is None:
            return self._api.insecure_channel(self._target, options=self._options)
        return self._api.secure_channel(self._target, self._credentials, options=self._options)

    @cached_property
    def _predict(self) -> Any:
        return protocol.PREDICT.on(self._channel)

    def _call_settings(self) -> dict[str, Any]:
        return {"timeout": self._timeout, "metadata": self._headers}

    def _spec(self, signature: str = "") -> Any:
        return protos.ModelSpec(name=self._model, signature_name=signature, **self._which)

    def _predict_request(self, images: Sequence[bytes], signature: str) -> Any:
        tensor = protos.TensorProto(
            dtype="DT_STRING", tensor_shape={"dim": [{"size": len(images)}]}, string_val=images
        )
        return protos.PredictRequest(
            model_spec=self._spec(signature), inputs={schema_names.SERVING_INPUT: tensor}
        )

    def _status_request(self) -> Any:
        return protos.GetModelStatusRequest(model_spec=self._spec())

    def _metadata_request(self) -> Any:
        return protos.GetModelMetadataRequest(model_spec=self._spec(), metadata_field=[_SIGNATURES])

    def _explained(self, error: grpc.RpcError) -> Exception:
        """What to raise in place of an error."""
        told = explain_error(error, target=self._target, model=self._model, timeout=self._timeout)
        return told or error


def read_status(response: Any) -> list[VersionStatus]:
    """The newest version first."""
    state = protos.ModelVersionStatus.State.Name
    versions = [
        VersionStatus(one.version, state(one.state), one.status.error_message)
        for one in response.model_version_status
    ]
    return sorted(versions, key=lambda one: -one.version)


def read_signatures(response: Any) -> dict[str, tuple[str, ...]]:
    """Each signature with the names of its outputs, sorted."""
    found = protos.SignatureDefMap.FromString(response.metadata[_SIGNATURES].value)
    return {name: tuple(sorted(one.outputs)) for name, one in sorted(found.signature_def.items())}


_NAME = re.compile(r"[a-z0-9_.-]+")
_VALUE = re.compile(r"[\x20-\x7e]+")


def call_headers(token: str | None, metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """As gRPC takes them.

    Args:
        token: sent as `authorization: Bearer <token>`.
        metadata: further ones.

    Raises:
        UserError: gRPC cannot send one; the text names it, but no token.
    """
    if token is not None and (not _VALUE.fullmatch(token) or " " in token):
        raise UserError("the token is empty, or holds a space or what is not ASCII: give it alone")
    for name, value in metadata.items():
        if not _NAME.fullmatch(name) or name.endswith("-bin") or not _VALUE.fullmatch(value):
            raise UserError(
                f"the header {name!r} cannot be sent: small letters, digits, '-', '_' and '.' make a name, "
                "printable ASCII a value"
            )
    bearer = {"authorization": f"Bearer {token}"} if token is not None else {}
    return tuple({**metadata, **bearer}.items())


_MESSAGE_BYTES = 64 * 1024 * 1024
_THIS_MACHINE = ("localhost", "127.0.0.1")


def channel_options(target: str, *, retries: int) -> list[tuple[str, int | str]]:
    """Arguments of a channel.

    Calls that end with UNAVAILABLE, and no others, are made again after 0.1, 0.3, 0.9 and 2.7 seconds, each
    shortened or lengthened by chance, as gRPC does by itself (gRFC A6), within the time limit of the call.

    Args:
        target: "host:port".
        retries: at most so many, 0 to 4.
    """
    return [
        ("grpc.max_send_message_length", _MESSAGE_BYTES),
        ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        # gRPC would send even calls to this machine through the web proxy that http_proxy names.
        ("grpc.enable_http_proxy", int(not on_this_machine(target))),
        ("grpc.service_config", json.dumps(_retry_policy(retries) if retries else {})),
        ("grpc.per_rpc_retry_buffer_size", _MESSAGE_BYTES),  # what is larger is not retried
        # A server that comes back is found by the next retry, not by one after the usual wait of a second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]


def on_this_machine(target: str) -> bool:
    """Whether calls stay here."""
    return target.rpartition(":")[0] in _THIS_MACHINE


def _retry_policy(retries: int) -> dict[str, object]:
    return {
        "methodConfig": [
            {
                "name": [{}],  # every method
                "retryPolicy": {
                    "maxAttempts": 1 + retries,
                    "initialBackoff": "0.1s",
                    "backoffMultiplier": 3,
                    "maxBackoff": "5s",
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }


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
