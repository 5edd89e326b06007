"""Reads what `knet kubeflow compile` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from knet.base.errors import UserError


def read_compiled(file: Path) -> dict[str, Any]:
    """The PipelineSpec of a compiled graph, as JSON knows it.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    try:
        document = next(yaml.safe_load_all(file.read_text(encoding="utf-8")), None)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        document = None
    if not isinstance(document, dict) or not {"pipelineInfo", "root", "deploymentSpec"} <= set(document):
        raise UserError(f"{file} is no compiled pipeline; knet kubeflow compile --output {file} makes one")
    return document


_TYPES: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def run_parameters(spec: Mapping[str, Any], given: Sequence[str]) -> dict[str, Any]:
    """Values by name, of the types that the graph declares.

    Args:
        spec: the PipelineSpec.
        given: `name=value` each; a value that is no text is in YAML, such as `[mobilenet, vgg16]`.

    Raises:
        UserError: the graph has no such parameter, or the value is of another type.
    """
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    values: dict[str, Any] = {}
    for item in given:
        name, equals, text = item.partition("=")
        if not equals:
            raise UserError(f"--param {item}: write it as name=value")
        if name not in declared:
            raise UserError(f"--param {name}: no such parameter; there are {', '.join(sorted(declared))}")
        values[name] = _value(name, text, declared[name]["parameterType"])
    return values


def _value(name: str, text: str, kind: str) -> Any:
    if kind == "STRING":
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    is_wrong_bool = isinstance(value, bool) and kind != "BOOLEAN"
    if is_wrong_bool or not isinstance(value, _TYPES[kind]):
        raise UserError(f"--param {name}={text}: the value must be a {kind.lower().replace('_', ' ')}")
    return value
