"""What the clients have in common: whom they ask, and in what words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import grpc

from pipeline import features
from pipeline.errors import UserError
from serving import messages
from serving.client import methods
from serving.client.call_headers import call_headers
from serving.client.channel_options import MOST_RETRIES, channel_options, on_this_machine
from serving.client.explain_error import explain_error
from serving.client.tls import Tls
from serving.client.version_status import VersionStatus

_SIGNATURES = "signature_def"  # the one field of metadata that there is


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
        model: str = features.MODEL_NAME,
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
        return methods.PREDICT.on(self._channel)

    def _call_settings(self) -> dict[str, Any]:
        return {"timeout": self._timeout, "metadata": self._headers}

    def _spec(self, signature: str = "") -> Any:
        return messages.ModelSpec(name=self._model, signature_name=signature, **self._which)

    def _predict_request(self, images: Sequence[bytes], signature: str) -> Any:
        tensor = messages.TensorProto(
            dtype="DT_STRING", tensor_shape={"dim": [{"size": len(images)}]}, string_val=images
        )
        return messages.PredictRequest(
            model_spec=self._spec(signature), inputs={features.SERVING_INPUT: tensor}
        )

    def _status_request(self) -> Any:
        return messages.GetModelStatusRequest(model_spec=self._spec())

    def _metadata_request(self) -> Any:
        return messages.GetModelMetadataRequest(model_spec=self._spec(), metadata_field=[_SIGNATURES])

    def _explained(self, error: grpc.RpcError) -> Exception:
        """What to raise in place of an error."""
        told = explain_error(error, target=self._target, model=self._model, timeout=self._timeout)
        return told or error


def read_status(response: Any) -> list[VersionStatus]:
    """The newest version first."""
    state = messages.ModelVersionStatus.State.Name
    versions = [
        VersionStatus(one.version, state(one.state), one.status.error_message)
        for one in response.model_version_status
    ]
    return sorted(versions, key=lambda one: -one.version)


def read_signatures(response: Any) -> dict[str, tuple[str, ...]]:
    """Each signature with the names of its outputs, sorted."""
    found = messages.SignatureDefMap.FromString(response.metadata[_SIGNATURES].value)
    return {name: tuple(sorted(one.outputs)) for name, one in sorted(found.signature_def.items())}
