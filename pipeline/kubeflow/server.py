"""Client of a Kubeflow Pipelines server: connecting, uploading compiled pipelines, submitting runs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from knet.base.errors import UserError
from pipeline.config.kubeflow import KubeflowConfig
from pipeline.kubeflow.compiled import read_compiled

# Environment variables; kfp reads the last one too.
TOKEN_VARIABLE: Final = "KUBEFLOW_TOKEN"
COOKIES_VARIABLE: Final = "KUBEFLOW_COOKIES"
ENDPOINT_VARIABLE: Final = "KF_PIPELINES_ENDPOINT"
# Default of kfp, which would insert the user's namespace instead of that of Kubeflow Pipelines.
IN_CLUSTER_URL: Final = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"


@contextlib.contextmanager
def connect(config: KubeflowConfig) -> Iterator[Any]:
    """Yield a kfp.Client whose errors are raised as UserError.

    The token is that of the variable KUBEFLOW_TOKEN, or of the service account if Kubernetes mounts one for
    Kubeflow Pipelines (at $KF_PIPELINES_SA_TOKEN_PATH). Cookies, for a gateway that authenticates by session,
    are those of KUBEFLOW_COOKIES.

    Args:
        config: with the server's URL (`server_url`), its authority's certificates, and the user's namespace.

    Raises:
        UserError: the server cannot be reached, is another one, is multi-user without a namespace, or refuses
            a request.
    """
    import kfp_server_api
    import urllib3

    if config.ca_file and not config.ca_file.is_file():
        raise UserError(f"kubeflow.ca_file: no file {config.ca_file}")
    try:
        # kfp prints links, and warns about versions of Kubeflow that are not supported any more.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield _client(config)
    except kfp_server_api.ApiException as error:
        raise UserError(f"Kubeflow Pipelines at {config.host}: {_refusal(error)}") from None
    except (urllib3.exceptions.HTTPError, TimeoutError) as error:
        cause = _cause(error)
        remedy = (
            "name the certificates of its authority in kubeflow.ca_file"
            if isinstance(cause, urllib3.exceptions.SSLError)
            else "is kubeflow.host right, and does kubectl port-forward still run?"
        )
        raise UserError(f"cannot reach Kubeflow Pipelines at {config.host}: {cause}; {remedy}") from None


def server_url(configured: str) -> str:
    """Return the URL of Kubeflow Pipelines.

    Args:
        configured: `kubeflow.host`, which `--host` overrides. Empty: $KF_PIPELINES_ENDPOINT, or in a pod the
            server of its cluster.

    Raises:
        UserError: no URL is configured.
    """
    # A pod is recognized by its variables, since a pod with a projected token has no service account files.
    in_pod = IN_CLUSTER_URL if "KUBERNETES_SERVICE_HOST" in os.environ else ""
    url = configured or os.environ.get(ENDPOINT_VARIABLE) or in_pod
    if not url:
        raise UserError(
            "kubeflow.host is not set: give the URL of Kubeflow Pipelines with --host, such as "
            f"http://localhost:8888, or set kubeflow.host or the variable {ENDPOINT_VARIABLE}"
        )
    return url


def _client(config: KubeflowConfig) -> Any:
    """Return a kfp.Client of a server that answers as Kubeflow Pipelines does."""
    user = {"namespace": config.namespace} if config.namespace else {}  # without it kfp requests it
    client = _client_class()(
        host=config.host, ssl_ca_cert=config.ca_file and str(config.ca_file), **user, **_credentials()
    )
    is_multi_user = client.get_kfp_healthz().multi_user
    if is_multi_user is None:  # a login page, which the client reads as an empty answer
        raise UserError(
            f"{config.host} does not answer as Kubeflow Pipelines; if it asks for a login, give a token in "
            f"{TOKEN_VARIABLE} or the session's cookies in {COOKIES_VARIABLE}, and check the path of "
            "kubeflow.host, such as https://<gateway>/pipeline"
        )
    if is_multi_user and not (config.namespace or client.get_user_namespace()):
        raise UserError(
            f"kubeflow.namespace is not set, and Kubeflow Pipelines at {config.host} is multi-user: give "
            "--namespace, the profile that owns the runs"
        )
    return client


def _client_class() -> type[Any]:
    """Return kfp.Client with one health check of the server; its own retries it for 25 seconds."""
    from kfp import client as kfp_client

    base: Any = kfp_client.Client  # typed in some versions of kfp

    class Client(base):
        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
            # The method's name depends on the version of kfp-server-api.
            (name,) = (name for name in dir(self._healthz_api) if name.endswith("get_healthz"))
            return getattr(self._healthz_api, name)()

    return Client


def _credentials() -> dict[str, Any]:
    """Return the arguments of kfp.Client that authenticate it."""
    from kfp import client as kfp_client
    from kfp.client import set_volume_credentials

    session = {"cookies": cookies} if (cookies := os.environ.get(COOKIES_VARIABLE)) else {}
    token = os.environ.get(TOKEN_VARIABLE)
    if token:
        return {**session, "existing_token": token}
    environment = os.environ.get(kfp_client.KF_PIPELINES_SA_TOKEN_ENV)
    if Path(environment or kfp_client.KF_PIPELINES_SA_TOKEN_PATH).is_file():
        return {**session, "credentials": set_volume_credentials.ServiceAccountTokenVolumeCredentials()}
    return session


def _refusal(error: Any) -> str:
    """Return the server's message, its HTTP status and the remedy."""
    try:
        body = json.loads(error.body)
        text = body.get("error_message") or body.get("message") or body.get("error")
    except (TypeError, ValueError, AttributeError):
        text = error.reason
    token = f"a token in {TOKEN_VARIABLE} (kubectl create token <account> --audience {_AUDIENCE})"
    hint = {
        401: f"; give {token}",
        403: f"; give {token} of an account that may do this, and the right kubeflow.namespace",
    }.get(error.status, "")
    return f"{text} ({error.status}){hint}"


_AUDIENCE: Final = "pipelines.kubeflow.org"  # for which Kubeflow Pipelines accepts tokens


def _cause(error: BaseException) -> BaseException:
    """Return the error of the connection that urllib3's error wraps, if it wraps one."""
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, BaseException) else error


_PAGE = 100


@dataclass(frozen=True)
class UploadedVersion:
    """Version of a pipeline on the server.

    Attributes:
        pipeline: name of the pipeline.
        pipeline_id: its id.
        version_id: id of the version.
        version: name of the version.
        new: whether this call uploaded it.
    """

    pipeline: str
    pipeline_id: str
    version_id: str
    version: str
    new: bool


def upload(client: Any, file: Path, *, namespace: str | None) -> UploadedVersion:
    """Upload a compiled pipeline, unless the server has a version of the same content.

    The digest of the file is in the version's description, and in its name unless it is the first version,
    which the server names after the pipeline.

    Args:
        client: a kfp.Client.
        file: YAML written by `knet kubeflow compile`.
        namespace: of the user, in a multi-user Kubeflow.

    Raises:
        UserError: the file is no compiled pipeline.
    """
    pipeline = read_compiled(file)["pipelineInfo"]["name"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    label, description = f"{pipeline}-{digest[:12]}", f"sha256:{digest}"

    pipeline_id = _find_pipeline(client, pipeline, namespace)
    new = pipeline_id is None
    if pipeline_id is None:
        _create_if_missing(
            lambda: client.upload_pipeline(
                str(file), pipeline_name=pipeline, description=description, namespace=namespace
            )
        )
        pipeline_id = _find_pipeline(client, pipeline, namespace)
    assert pipeline_id is not None
    version = _find_version(client, pipeline_id, label, description)
    if version is None:
        new = True
        _create_if_missing(
            lambda: client.upload_pipeline_version(
                str(file), pipeline_version_name=label, pipeline_id=pipeline_id, description=description
            )
        )
        version = _find_version(client, pipeline_id, label, description)
    assert version is not None
    return UploadedVersion(pipeline, pipeline_id, version.pipeline_version_id, version.display_name, new)


def list_all(list_page: Callable[..., Any], field: str, **arguments: Any) -> Iterator[Any]:
    """Yield all items of a paginated list.

    Args:
        list_page: method of the client.
        field: of the response that holds the items.
        arguments: of the method.
    """
    token = ""
    while True:
        page = list_page(page_token=token, page_size=_PAGE, **arguments)
        yield from getattr(page, field) or ()
        token = page.next_page_token
        if not token:
            return


def name_filter(name: str) -> str:
    """Return the filter of list requests that selects items by their name."""
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def _find_pipeline(client: Any, name: str, namespace: str | None) -> str | None:
    found = list_all(client.list_pipelines, "pipelines", namespace=namespace, filter=name_filter(name))
    return next((pipeline.pipeline_id for pipeline in found if pipeline.display_name == name), None)


def _find_version(client: Any, pipeline_id: str, label: str, description: str) -> Any:
    found = list_all(client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline_id)
    return next((v for v in found if v.display_name == label or v.description == description), None)


def _create_if_missing(create: Callable[[], object]) -> None:
    """Call a function, ignoring the server's conflict if another client created the same meanwhile."""
    import kfp_server_api

    try:
        create()
    except kfp_server_api.ApiException as error:
        if error.status != 409:
            raise


@dataclass(frozen=True)
class SubmittedRun:
    """Run that was started."""

    run_id: str
    name: str
    version: UploadedVersion


def submit(client: Any, file: Path, *, config: KubeflowConfig, parameters: Mapping[str, Any]) -> SubmittedRun:
    """Upload a compiled pipeline and start a run of that version.

    Args:
        client: a kfp.Client.
        file: YAML written by `knet kubeflow compile`.
        config: with namespace, experiment and service account.
        parameters: of the run, by name; others have their defaults.

    Raises:
        UserError: the file is no compiled pipeline.
    """
    version = upload(client, file, namespace=config.namespace)
    experiment = client.create_experiment(config.experiment or version.pipeline, namespace=config.namespace)
    name = f"{version.pipeline}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
    run = client.run_pipeline(
        experiment_id=experiment.experiment_id,
        job_name=name,
        params=dict(parameters),
        pipeline_id=version.pipeline_id,
        version_id=version.version_id,
        pipeline_root=read_compiled(file)["defaultPipelineRoot"],
        service_account=config.service_account,
    )
    return SubmittedRun(run.run_id, name, version)
