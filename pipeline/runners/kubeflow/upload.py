"""Puts a compiled graph on the server of Kubeflow Pipelines, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.runners.kubeflow.read_compiled import read_compiled

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
