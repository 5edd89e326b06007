"""Completes the message that Kubeflow's launcher sends to a container, for TFX's executors."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from pipeline.runners.kubeflow.remote_uris import local_path

# Arguments of the entrypoint. TFX compiles the first one into a container, and nothing about outputs.
INPUTS_SPEC: Final = "--json_serialized_inputs_spec_args"
OUTPUTS_SPEC: Final = "--json_serialized_outputs_spec_args"
# Of an ExecutorInput: the side, its field, and the field of the specification that names what is in it.
_FIELDS = (
    ("inputs", "parameterValues", "parameters"),
    ("inputs", "artifacts", "artifacts"),
    ("outputs", "parameters", "parameters"),
    ("outputs", "artifacts", "artifacts"),
)


def local_invocation(invocation: str, *, inputs_spec: str, outputs_spec: str) -> dict[str, Any]:
    """Completes an ExecutorInput message by the component's specification.

    Open-source Kubeflow sends input artifacts without their type, and with the URI of the object store, which
    neither TensorFlow nor Beam can open. Launchers from 2.5.0 on add an output of their own, `executor-logs`,
    whose type TFX cannot import. So names and types come from the specification alone.

    Args:
        invocation: the ExecutorInput as JSON, as the launcher puts it in the place of `{{$}}`.
        inputs_spec: the component's ComponentInputsSpec as JSON.
        outputs_spec: the component's ComponentOutputsSpec as JSON.

    Returns:
        The ExecutorInput, as JSON knows it: parameters and artifacts of the component, with the types that
        the component declares and with local paths.

    Raises:
        ValueError: an output of the component is missing in the message.
    """
    message: dict[str, Any] = json.loads(invocation)
    specs = {"inputs": json.loads(inputs_spec), "outputs": json.loads(outputs_spec)}
    for side, field, declared_in in _FIELDS:
        given = message.get(side, {}).get(field, {})
        declared = specs[side].get(declared_in, {})
        missing = sorted(set(declared) - set(given))
        if side == "outputs" and missing:
            raise ValueError(f"outputs.{field} of the launcher's message: {', '.join(missing)} missing")
        if given:
            message[side][field] = _of_the_component(given, declared, f"{side}.{field}")
    for side, spec in specs.items():
        for name, held in message.get(side, {}).get("artifacts", {}).items():
            for artifact in held.get("artifacts", []):
                artifact["type"] = spec["artifacts"][name]["artifactType"]
                artifact["uri"] = local_path(artifact["uri"])
    return message


def _of_the_component(given: Mapping[str, Any], declared: Mapping[str, Any], field: str) -> dict[str, Any]:
    added = sorted(set(given) - set(declared))
    if added:
        logging.getLogger(__name__).info(
            "%s: ignoring %s, which the component does not declare", field, ", ".join(added)
        )
    return {name: value for name, value in given.items() if name in declared}
