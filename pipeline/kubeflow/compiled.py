"""Compiled pipelines as files: their documents and configuration, and parameters of a run by their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from knet.base import node_ids
from knet.base.errors import UserError
from pipeline.config.config import Config
from pipeline.kubeflow.graph_edits import GRAPH


def read_compiled(file: Path) -> dict[str, Any]:
    """Read the PipelineSpec of a compiled pipeline, as parsed JSON.

    Args:
        file: YAML written by `knet kubeflow compile`.

    Raises:
        UserError: the file cannot be read, or is no compiled pipeline.
    """
    return read_documents(file)[0]


def read_documents(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the PipelineSpec and the SinglePlatformSpec of a compiled pipeline, as parsed JSON.

    Args:
        file: YAML written by `knet kubeflow compile`.

    Raises:
        UserError: the file cannot be read, or is no compiled pipeline.
    """
    try:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        documents = []
    match documents:
        case [{"pipelineInfo": _, "root": _, "deploymentSpec": _} as spec, {"platforms": _} as platform]:
            return spec, platform
        case _:
            raise _not_compiled(file)


def _not_compiled(file: Path) -> UserError:
    return UserError(f"{file} is no compiled pipeline; knet kubeflow compile --output {file} writes one")


def compiled_config(spec: Mapping[str, Any], file: Path) -> Config:
    """Return the configuration that a pipeline was compiled from, which is a parameter of `RunStart`.

    Args:
        spec: the PipelineSpec.
        file: that it was read from, for error messages.

    Raises:
        UserError: the pipeline is not one of `knet kubeflow compile`, or is one of another version.
    """
    try:
        task = spec["components"][GRAPH]["dag"]["tasks"][node_ids.RUN_START]
        text = task["inputs"]["parameters"]["config"]["runtimeValue"]["constant"]
    except (KeyError, TypeError):
        raise _not_compiled(file) from None
    try:
        return Config.model_validate_json(text)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(
            f"{file}: the setting {field} is not one of this version; compile the pipeline again"
        ) from None


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
