"""Puts what is known when a run starts into what was compiled before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def with_run_values(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Execution properties, in which a name with dots leads into the JSON of another property.

    Kubeflow's cache knows parameters by their names alone, so a value of the run is one of its own.

    Example:
        with_run_values({"candidate": '{"seed": 0}', "candidate.seed": 7}) == {"candidate": '{"seed": 7}'}

    Raises:
        ValueError: it leads to nothing.
    """
    values = {name: value for name, value in properties.items() if "." not in name}
    for name in sorted(set(properties) - set(values)):
        first, *path = name.split(".")
        if first not in values:
            raise ValueError(f"the parameter {name} leads to nothing: there is no property {first}")
        values[first] = _with(values[first], path, properties[name], name=name)
    return values


def _with(tree: Any, path: Sequence[str], value: Any, *, name: str) -> Any:
    """The same JSON, as text where it was text, with another value at a path."""
    if isinstance(tree, str):
        return json.dumps(_with(json.loads(tree), path, value, name=name))
    first, *rest = path
    if first not in tree:
        raise ValueError(f"the parameter {name} leads to nothing: there is no {first}")
    return {**tree, first: _with(tree[first], rest, value, name=name) if rest else value}
