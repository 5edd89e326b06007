"""Connection settings that both clients share: channel, TLS, headers and requests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import grpc

from knet.base import protos, schema_names
from knet.base.errors import UserError
from knet.client import protocol
from knet.client.protocol import explain_error
from knet.client.results import VersionStatus

MAX_RETRIES: Final = 4  # gRPC makes at most five attempts
_SIGNATURES: Final = "signature_def"  # the only field of a model's metadata


class BaseClient:
    """Connection to one model on a TF Serving or development server; the first call connects.

    Every method raises UserError if no server answers in time, if the server does not serve the model, or if
    it requires another token. Other gRPC errors are raised unchanged.
    """

    _api: Any  # `grpc` or `grpc.aio`

    def __init__(
        self,
        target: str = "localhost:8500",
        *,
        model: str = schema_names.MODEL_NAME,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        retries: int = MAX_RETRIES,
        batch: int = 8,
        concurrency: int = 4,
        tls: Tls | None = None,
        token: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Set up a connection; nothing is sent before the first call.

        Args:
            target: Server: "host:port", or another address that gRPC knows, such as "dns:///host:port", whose
                addresses share the requests, or "unix:/path".
            model: Name that the model is served under.
            version: Version of the model. Default: the newest.
            label: Label of the version, such as `stable`, instead of its number.
            timeout: Time limit of each request, retries included, in seconds.
            retries: Retries of a request while the server is unavailable, 0 to 4.
            batch: Most images in one request, which also has at most 16 MiB.
            concurrency: Most requests at a time.
            tls: Files for an encrypted channel. Default: no encryption.
            token: Token to send as `authorization: Bearer <token>`.
            metadata: Further headers of every call, by name in lower case.

        Raises:
            UserError: A value is out of range, a file of `tls` cannot be read, or a token would be sent
                unencrypted to another machine.
        """
        if timeout <= 0 or batch < 1 or concurrency < 1 or not 0 <= retries <= MAX_RETRIES:
            raise UserError(
                f"timeout ({timeout:g}) must be above 0, batch ({batch}) and concurrency ({concurrency}) "
                f"1 or more, retries ({retries}) 0 to {MAX_RETRIES}"
            )
        if version is not None and label is not None:
            raise UserError(f"version {version} and label {label!r}: give one of the two")
        if token is not None and tls is None and not is_local(target):
            raise UserError(f"the token would be sent to {target} unencrypted: give tls too")
        self._target = target
        self._model = model
        self._version: dict[str, Any] = {} if version is None else {"version": {"value": version}}
        if label is not None:
            self._version["version_label"] = label
        self._timeout = timeout
        self._batch = batch
        self._concurrency = concurrency
        self._credentials = tls and tls.credentials()
        self._options = channel_options(target, retries=retries)
        self._headers = call_headers(token, metadata or {})

    @cached_property
    def _channel(self) -> Any:
        """The channel; the first call creates it, so that one of `grpc.aio` belongs to the running loop."""
        if self._credentials is None:
            return self._api.insecure_channel(self._target, options=self._options)
        return self._api.secure_channel(self._target, self._credentials, options=self._options)

    @cached_property
    def _predict(self) -> Any:
        return protocol.PREDICT.on(self._channel)

    def _call_settings(self, patient: str | None = None) -> dict[str, Any]:
        headers = dict(self._headers)
        if patient is not None:
            headers[schema_names.PATIENT_HEADER] = quote(patient, safe="")
        return {"timeout": self._timeout, "metadata": tuple(headers.items())}

    def _spec(self, signature: str = "") -> Any:
        return protos.ModelSpec(name=self._model, signature_name=signature, **self._version)

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

    def _user_error(self, error: grpc.RpcError) -> Exception:
        """Return the user-correctable error that corresponds to a gRPC error, else the error itself."""
        explained = explain_error(error, target=self._target, model=self._model, timeout=self._timeout)
        return explained or error


def read_status(response: Any) -> list[VersionStatus]:
    """Decode a GetModelStatusResponse: the versions, the newest first."""
    state = protos.ModelVersionStatus.State.Name
    versions = [
        VersionStatus(one.version, state(one.state), one.status.error_message)
        for one in response.model_version_status
    ]
    return sorted(versions, key=lambda one: -one.version)


def read_signatures(response: Any) -> dict[str, tuple[str, ...]]:
    """Decode a GetModelMetadataResponse: the sorted names of each signature's outputs, by its name."""
    signatures = protos.SignatureDefMap.FromString(response.metadata[_SIGNATURES].value).signature_def
    return {name: tuple(sorted(signature.outputs)) for name, signature in sorted(signatures.items())}


_HEADER_NAME: Final = re.compile(r"[a-z0-9_.-]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]+")


def call_headers(token: str | None, metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the headers of every call as gRPC expects them: pairs of name and value.

    Args:
        token: Token to send as `authorization: Bearer <token>`.
        metadata: Further headers by name.

    Raises:
        UserError: gRPC cannot send a header; the message names it, but does not show the token.
    """
    if token is not None and (not _HEADER_VALUE.fullmatch(token) or " " in token):
        raise UserError("the token is empty, or holds a space or non-ASCII characters: give the token alone")
    for name, value in metadata.items():
        valid_name = _HEADER_NAME.fullmatch(name) and not name.endswith("-bin")
        if not valid_name or not _HEADER_VALUE.fullmatch(value):
            raise UserError(
                f"the header {name!r} cannot be sent: use lower-case letters, digits, '-', '_' and '.' in "
                "the name, without -bin at its end, and printable ASCII in the value"
            )
    bearer = {"authorization": f"Bearer {token}"} if token is not None else {}
    return tuple({**metadata, **bearer}.items())


_MESSAGE_BYTES: Final = 64 * 1024 * 1024


def channel_options(target: str, *, retries: int) -> list[tuple[str, int | str]]:
    """Return the arguments of a gRPC channel: limits, proxy, load balancing and retries.

    Requests go to all addresses of the server in turn, except those that do not answer. gRPC itself (gRFC A6)
    retries calls that end with UNAVAILABLE, and no others, after 0.1, 0.3, 0.9 and 2.7 seconds with random
    jitter, within the time limit of the call.

    Args:
        target: Server, "host:port".
        retries: Most retries, 0 to 4.
    """
    return [
        ("grpc.max_send_message_length", _MESSAGE_BYTES),
        ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        # gRPC would send even calls to this machine through the proxy in the variable http_proxy.
        ("grpc.enable_http_proxy", int(not is_local(target))),
        ("grpc.service_config", json.dumps(_service_config(retries))),
        ("grpc.per_rpc_retry_buffer_size", _MESSAGE_BYTES),  # larger requests are not retried
        # The next retry reaches a restarted server; with gRPC's defaults only one a second later would.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]


_SCHEME: Final = re.compile(r"(?:dns:(?://[^/]*/)?|ipv[46]:)")
_LOCAL_ADDRESS: Final = re.compile(r"(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?|::1")


def is_local(target: str) -> bool:
    """Return whether all addresses of a server are on this machine (names: gRPC Name Resolution)."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    addresses = _SCHEME.sub("", target, count=1).split(",")
    return all(_LOCAL_ADDRESS.fullmatch(address) for address in addresses)


def _service_config(retries: int) -> dict[str, object]:
    balancing: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if not retries:
        return balancing
    policy = {
        "maxAttempts": 1 + retries,
        "initialBackoff": "0.1s",
        "backoffMultiplier": 3,
        "maxBackoff": "5s",
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return {**balancing, "methodConfig": [{"name": [{}], "retryPolicy": policy}]}  # of every method


@dataclass(frozen=True)
class Tls:
    """PEM files for an encrypted channel.

    Attributes:
        ca_bundle: CA certificates to verify the server. Default: gRPC's bundled CAs.
        certificate: Certificate of the client, for a server that requires one.
        key: Private key of that certificate.
    """

    ca_bundle: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Load the files into gRPC's credentials.

        Raises:
            UserError: A file cannot be read or is no PEM file of its kind, or one of certificate and key is
                missing.
        """
        if (self.certificate is None) != (self.key is None):
            raise UserError("the client's certificate or its key is missing: give both or neither")
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.ca_bundle, "CERTIFICATE"),
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
        raise UserError(f"{file} holds no {kind.lower()} in PEM format; give a file that does")
    return text
