"""A connection to the server of Kubeflow Pipelines."""

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


_PAGE = 100


@dataclass(frozen=True)
class UploadedVersion:
    """A version of a pipeline on the server."""

    pipeline: str  # its name
    pipeline_id: str
    version_id: str
    version: str  # its name
    new: bool  # whether it was uploaded just now


def upload(client: Any, file: Path, *, namespace: str | None) -> UploadedVersion:
    """The version of the pipeline that holds this file, which is uploaded where there is none.

    The digest of the file is in the description of the version, and in its name but for the first version,
    which the server names after the pipeline.

    Args:
        client: a kfp.Client.
        file: what `knet kubeflow compile` wrote.
        namespace: the user's, where Kubeflow has several.

    Raises:
        UserError: the file is no compiled pipeline.
    """
    pipeline = read_compiled(file)["pipelineInfo"]["name"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    label, description = f"{pipeline}-{digest[:12]}", f"sha256:{digest}"

    pipeline_id = _find_pipeline(client, pipeline, namespace)
    new = pipeline_id is None
    if pipeline_id is None:
        _unless_there(
            lambda: client.upload_pipeline(
                str(file), pipeline_name=pipeline, description=description, namespace=namespace
            )
        )
        pipeline_id = _find_pipeline(client, pipeline, namespace)
    assert pipeline_id is not None
    version = _find_version(client, pipeline_id, label, description)
    if version is None:
        new = True
        _unless_there(
            lambda: client.upload_pipeline_version(
                str(file), pipeline_version_name=label, pipeline_id=pipeline_id, description=description
            )
        )
        version = _find_version(client, pipeline_id, label, description)
    assert version is not None
    return UploadedVersion(pipeline, pipeline_id, version.pipeline_version_id, version.display_name, new)


def every(list_page: Callable[..., Any], field: str, **arguments: Any) -> Iterator[Any]:
    """What a method of the client lists, page after page."""
    token = ""
    while True:
        page = list_page(page_token=token, page_size=_PAGE, **arguments)
        yield from getattr(page, field) or ()
        token = page.next_page_token
        if not token:
            return


def named(name: str) -> str:
    """The filter by which the server lists what has a name."""
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def _find_pipeline(client: Any, name: str, namespace: str | None) -> str | None:
    found = every(client.list_pipelines, "pipelines", namespace=namespace, filter=named(name))
    return next((pipeline.pipeline_id for pipeline in found if pipeline.display_name == name), None)


def _find_version(client: Any, pipeline_id: str, label: str, description: str) -> Any:
    found = every(client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline_id)
    return next((v for v in found if v.display_name == label or v.description == description), None)


def _unless_there(create: Callable[[], object]) -> None:
    """Creates something, unless somebody else did meanwhile."""
    import kfp_server_api

    try:
        create()
    except kfp_server_api.ApiException as error:
        if error.status != 409:
            raise


@dataclass(frozen=True)
class SubmittedRun:
    """A run that was started."""

    run_id: str
    name: str
    version: UploadedVersion


def submit(client: Any, file: Path, *, config: KubeflowConfig, parameters: Mapping[str, Any]) -> SubmittedRun:
    """Uploads the graph, where it is new, and starts a run of exactly that version.

    Args:
        client: a kfp.Client.
        file: what `knet kubeflow compile` wrote.
        config: says where: namespace, experiment and service account.
        parameters: of the run, where they differ from their defaults.

    Raises:
        UserError: the file is no compiled pipeline.
    """
    version = upload(client, file, namespace=config.namespace)
    place = client.create_experiment(config.experiment or version.pipeline, namespace=config.namespace)
    name = f"{version.pipeline}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
    run = client.run_pipeline(
        experiment_id=place.experiment_id,
        job_name=name,
        params=dict(parameters),
        pipeline_id=version.pipeline_id,
        version_id=version.version_id,
        pipeline_root=read_compiled(file)["defaultPipelineRoot"],
        service_account=config.service_account,
    )
    return SubmittedRun(run.run_id, name, version)
