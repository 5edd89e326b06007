"""A connection to the server of Kubeflow Pipelines."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pipeline.errors import UserError

TOKEN = "KUBEFLOW_TOKEN"  # the environment variable
ENDPOINT: Final = "KF_PIPELINES_ENDPOINT"  # as kfp has it
# As kfp has it. It would put the user's namespace there, where Kubeflow Pipelines has its own.
IN_CLUSTER_URL: Final = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"


@contextlib.contextmanager
def connect(host: str, *, namespace: str | None) -> Iterator[Any]:
    """A kfp.Client; what the server refuses meanwhile, and that it cannot be reached, is a UserError.

    The token is that of the variable KUBEFLOW_TOKEN, or of the service account where Kubernetes mounts one
    for Kubeflow Pipelines (at $KF_PIPELINES_SA_TOKEN_PATH).

    Args:
        host: the server's URL (`server_url`).
        namespace: the user's, where Kubeflow has several.

    Raises:
        UserError: the server cannot be reached, or refuses.
    """
    import kfp_server_api
    import urllib3

    try:
        # It prints links, and warns of versions of Kubeflow long gone.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            # Where there is a namespace, it does not ask the server for one.
            named = {"namespace": namespace} if namespace else {}
            yield _client_class()(host=host, **named, **_credentials())
    except kfp_server_api.ApiException as error:
        raise UserError(f"Kubeflow Pipelines at {host}: {_reason(error)}") from None
    except (urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise UserError(
            f"cannot reach Kubeflow Pipelines at {host}: {_root(error)}; is kubeflow.host right, and "
            "does kubectl port-forward still run?"
        ) from None


def server_url(configured: str) -> str:
    """The URL of Kubeflow Pipelines.

    Args:
        configured: `kubeflow.host`, which `--host` overrides; empty for $KF_PIPELINES_ENDPOINT, or inside a
            pod for the server of its cluster.

    Raises:
        UserError: there is none.
    """
    # A pod is known by its variables: with a token for Kubeflow alone it has no files of a service account.
    in_pod = IN_CLUSTER_URL if "KUBERNETES_SERVICE_HOST" in os.environ else ""
    url = configured or os.environ.get(ENDPOINT) or in_pod
    if not url:
        raise UserError(
            "kubeflow.host is not set: give the URL of Kubeflow Pipelines with --host, such as "
            f"http://localhost:8888, or set kubeflow.host or the variable {ENDPOINT}"
        )
    return url


def _client_class() -> type[Any]:
    """kfp.Client, but that it asks a server once whether it has several users, and not for 25 seconds."""
    from kfp import client as kfp_client

    base: Any = kfp_client.Client  # which kfp types in some versions

    class Client(base):
        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
            # Its name depends on the version of kfp-server-api.
            (name,) = (name for name in dir(self._healthz_api) if name.endswith("get_healthz"))
            return getattr(self._healthz_api, name)()

    return Client


def _credentials() -> dict[str, Any]:
    """Arguments of kfp.Client."""
    from kfp import client as kfp_client
    from kfp.client import set_volume_credentials

    token = os.environ.get(TOKEN)
    if token:
        return {"existing_token": token}
    environment = os.environ.get(kfp_client.KF_PIPELINES_SA_TOKEN_ENV)
    if Path(environment or kfp_client.KF_PIPELINES_SA_TOKEN_PATH).is_file():
        return {"credentials": set_volume_credentials.ServiceAccountTokenVolumeCredentials()}
    return {}


def _reason(error: Any) -> str:
    """What the server says, and what to do about it."""
    try:
        said = json.loads(error.body)
        text = said.get("error_message") or said.get("message") or said.get("error")
    except (TypeError, ValueError, AttributeError):
        text = error.reason
    hint = {
        401: f"; give a token in {TOKEN}",
        403: f"; give a token in {TOKEN} that may do this, and the right kubeflow.namespace",
    }.get(error.status, "")
    return f"{text} ({error.status}){hint}"


def _root(error: BaseException) -> BaseException:
    """Where it all began: the connection that was refused."""
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, BaseException) else error
