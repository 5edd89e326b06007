"""Compiled pipelines as files: reading the PipelineSpec and parsing parameters of a run by its types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from knet.base.errors import UserError


def read_compiled(file: Path) -> dict[str, Any]:
    """Read the PipelineSpec of a compiled pipeline, as parsed JSON.

    Args:
        file: YAML written by `knet kubeflow compile`.

    Raises:
        UserError: the file cannot be read, or is no compiled pipeline.
    """
    try:
        document = next(yaml.safe_load_all(file.read_text(encoding="utf-8")), None)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        document = None
    if not isinstance(document, dict) or not {"pipelineInfo", "root", "deploymentSpec"} <= set(document):
        raise UserError(f"{file} is no compiled pipeline; knet kubeflow compile --output {file} writes one")
    return document


# Python types of a ParameterType.
_TYPES: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def run_parameters(spec: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Parse parameters of a run.

    Args:
        spec: the PipelineSpec.
        assignments: `name=value` each. Values of other types than text are YAML, such as
            `[mobilenet, vgg16]`.

    Returns:
        Values by name, of the types that the pipeline declares.

    Raises:
        UserError: the pipeline has no such parameter, or the value is of another type.
    """
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"--param {assignment}: write it as name=value")
        if name not in declared:
            raise UserError(f"--param {name}: no such parameter; there are {', '.join(sorted(declared))}")
        values[name] = _parse(name, text, declared[name]["parameterType"])
    return values


def _parse(name: str, text: str, parameter_type: str) -> Any:
    if parameter_type == "STRING":
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    is_wrong_bool = isinstance(value, bool) and parameter_type != "BOOLEAN"
    if is_wrong_bool or not isinstance(value, _TYPES[parameter_type]):
        words = parameter_type.lower().replace("_", " ")
        raise UserError(f"--param {name}={text}: the value must be a {words}")
    return value
