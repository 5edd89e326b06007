"""What Kubeflow's launcher tells a container to do, made into what TFX's executors take."""

from __future__ import annotations

import json
from typing import Any

from pipeline.runners.kubeflow.remote_uris import local_path


def local_invocation(invocation: str, inputs_spec: str) -> dict[str, Any]:
    """Completes an ExecutorInput message.

    Open-source Kubeflow hands artifacts over without their type, and with the URI of the object store,
    which neither TensorFlow nor Beam can open.

    Args:
        invocation: the ExecutorInput as JSON, as the launcher puts it in the place of `{{$}}`.
        inputs_spec: the component's ComponentInputsSpec as JSON, which knows the types.

    Returns:
        The ExecutorInput, as JSON knows it, with every input's type and with local paths.

    Raises:
        ValueError: an input artifact is not in the specification.
    """
    message: dict[str, Any] = json.loads(invocation)
    types = {
        name: spec["artifactType"] for name, spec in json.loads(inputs_spec).get("artifacts", {}).items()
    }
    for name, artifact in _artifacts(message, "inputs"):
        if name not in types:
            raise ValueError(f"input {name} is not among those of the component: {', '.join(types)}")
        artifact["type"] = types[name]
        artifact["uri"] = local_path(artifact["uri"])
    for _, artifact in _artifacts(message, "outputs"):
        artifact["uri"] = local_path(artifact["uri"])
    return message


def _artifacts(message: dict[str, Any], side: str) -> list[tuple[str, dict[str, Any]]]:
    lists = message.get(side, {}).get("artifacts", {})
    return [(name, artifact) for name, held in lists.items() for artifact in held.get("artifacts", [])]
