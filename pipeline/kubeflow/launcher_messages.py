"""Simulated messages of Kubeflow's launcher, in the form of those of launcher 2.17.0."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from knet.base.errors import UserError

LOGS: Final = "executor-logs"  # output that a launcher adds to every component
PARAMETERS: Final = "tmp/kfp/outputs"  # folder of a pod with a file for each output parameter


def executor_input(
    component: Mapping[str, Any], inputs: dict[str, Any], *, folder: str, pod: Path
) -> dict[str, Any]:
    """Return an ExecutorInput message as JSON.

    Args:
        component: the ComponentSpec.
        inputs: the ExecutorInput.Inputs.
        folder: URI of the folder for the outputs of this execution.
        pod: local folder that holds the file system of the pod.
    """
    definitions = component.get("outputDefinitions", {})
    types = {name: item["artifactType"] for name, item in definitions.get("artifacts", {}).items()}
    types[LOGS] = {"schemaTitle": "system.Artifact"}
    outputs = {
        "artifacts": {
            name: {"artifacts": [{"name": name, "type": kind, "uri": f"{folder}/{name}"}]}
            for name, kind in types.items()
        },
        "parameters": {
            name: {"outputFile": str(pod / PARAMETERS / name)} for name in definitions.get("parameters", {})
        },
        "outputFile": str(in_pod(pod, f"{folder}/output_metadata.json")),
    }
    return {"inputs": inputs, "outputs": without_empty(outputs)}


def substitute(word: str, message: Mapping[str, Any]) -> str:
    """Replace the launcher's placeholders in a word of a container's command."""
    word = word.replace("{{$}}", json.dumps(message))
    for name, value in message["inputs"].get("parameterValues", {}).items():
        text = value if isinstance(value, str) else json.dumps(value)
        word = word.replace(f"{{{{$.inputs.parameters['{name}']}}}}", text)
    for name, value in message["outputs"].get("parameters", {}).items():
        word = word.replace(f"{{{{$.outputs.parameters['{name}'].output_file}}}}", value["outputFile"])
    return word


def output_artifacts(node: str, message: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the output artifacts of a container in the form of the metadata store, by output name.

    Args:
        node: name of the node, for error messages.
        message: the ExecutorInput. The output file that it names may exist.

    Raises:
        UserError: the launcher would not upload an output, or could not store its metadata.
    """
    output_file = Path(message["outputs"]["outputFile"])
    written = (
        json.loads(output_file.read_text(encoding="utf-8")).get("artifacts", {})
        if output_file.is_file()
        else {}
    )
    artifacts = {}
    for name, held in message["outputs"]["artifacts"].items():
        (artifact,) = held["artifacts"]
        (update,) = written.get(name, {}).get("artifacts", [{}])
        uri = update.get("uri", artifact["uri"])
        if "://" not in uri:
            raise UserError(
                f"{node}: the container names {uri} for its output {name}: Kubeflow's launcher would not "
                "upload it; name the URI in the object store"
            )
        metadata = {
            field: _stored_value(value, f"{node}: metadata.{field} of the output {name}")
            for field, value in update.get("metadata", {}).items()
        }
        artifacts[name] = {
            "name": str(int(hashlib.sha256(uri.encode()).hexdigest()[:12], 16)),  # the store's id, a number
            "uri": uri,
            "metadata": {**metadata, "display_name": name, "store_session_info": _store_session(uri)},
        }
    return artifacts


def _stored_value(value: Any, field: str) -> Any:
    """Return a value in the form of the metadata store, which has neither booleans nor plain lists.

    Raises:
        UserError: it is null, which makes the launcher fail.
    """
    match value:
        case None:
            raise UserError(f"{field} is null, which Kubeflow's launcher cannot store: leave it out")
        case bool():
            return int(value)
        case list():
            return {"list": value}
        case dict():
            return {"struct": value}
        case _:
            return value


def _store_session(uri: str) -> str:
    """Return the object store session that the launcher stores with every artifact."""
    return json.dumps({"Provider": uri.partition("://")[0], "Params": {"fromEnv": "true"}})


def in_pod(pod: Path, uri: str) -> Path:
    """Return the path of the launcher's copy of an artifact in a pod."""
    scheme, _, path = uri.partition("://")
    return pod / ("gcs" if scheme == "gs" else scheme) / path


def without_empty(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message in the form of Protocol Buffers' JSON, which has no empty fields."""
    return {field: value for field, value in message.items() if value}
