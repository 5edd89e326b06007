"""Base class of the configuration's sections.

Each field states its description, range and default in its `Field`, and its unit in
`json_schema_extra={"unit": ...}`. `knet config explain`, `knet config schema` and docs/settings.md show them.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

Fraction = Annotated[float, Field(gt=0, lt=1)]


def expand_home(path: Path) -> Path:
    """Return a path with `~` at its start expanded.

    Raises:
        ValueError: there is no such home folder.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"{str(path)!r}: there is no home folder {path.parts[0]}") from None


LocalPath = Annotated[Path, AfterValidator(expand_home)]


class Section(BaseModel):
    """A section of the configuration: unknown fields are refused, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base with changes: maps are merged key by key, all other values replaced."""
    merged = dict(base)
    for key, value in changes.items():
        both_maps = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both_maps else value
    return merged


def describe_errors(error: ValidationError, section: type[BaseModel], *, path: str = "") -> list[str]:
    """Return a line for each invalid field, with its path and what is allowed.

    Args:
        error: raised by the section.
        section: the section.
        path: of the section; empty for the whole configuration.
    """
    lines = []
    for problem in error.errors():
        names = [str(part) for part in problem["loc"] if part != "[key]"]
        field = ".".join([path, *names] if path else names)
        if problem["type"] == "extra_forbidden":
            allowed = ", ".join(_fields_at(section, problem["loc"][:-1]))
            lines.append(f"{field}: {renaming(field) or f'no such field; allowed here: {allowed}'}")
        elif problem["type"] == "model_type" and problem["input"] is None:
            allowed = ", ".join(_fields_at(section, problem["loc"]))
            lines.append(f"{field} is empty: remove it, or give fields of it, such as {allowed}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            message = re.sub(" or instance of .*", "", message)  # a class of ours
            # The message of a section's validator begins with the field that it is about.
            name, _, rest = message.partition(": ")
            if rest and isinstance(problem["input"], (dict, BaseModel)) and name.isidentifier():
                field, message = ".".join(filter(None, (field, name))), rest
            # The messages of our validators quote the value themselves.
            given = "" if problem["type"] == "value_error" else f", not {problem['input']!r}"
            lines.append(f"{field}: {message}{given}" if field else message)
    return lines


def _fields_at(section: Any, location: tuple[int | str, ...]) -> list[str]:
    """Return the fields of the section at a location in another."""
    for part in location:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[str(part)].annotation
        else:  # the values of a dict, or the items of a list
            section = get_args(section)[1 if get_origin(section) is dict else 0]
        if isinstance(section, UnionType) or get_origin(section) is Union:
            section = next(a for a in get_args(section) if a is not type(None))
    return sorted(section.model_fields)


# New path by former path; both are in the same section.
RENAMED: Mapping[str, str] = {
    "data.max_bad_share": "data.max_invalid_fraction",
    "data.allow_leaks": "data.allow_cross_split_duplicates",
    "training.random_augmentation.turn": "training.random_augmentation.rotate",
    "selection.tie": "selection.equivalence_margin",
    "selection.pin": "selection.force_winner",
    "gate.patients": "gate.min_patients",
    "gate.insufficient": "gate.on_insufficient_data",
    "kubeflow.exchange": "kubeflow.shared_dir",
    "tuning.backbone": "tuning.candidate",
}
# New value by former value, by former path.
RENAMED_VALUES: Mapping[str, Mapping[str, str]] = {
    "gate.insufficient": {"refuse": "fail"},
    "tuning.scope": {"backbone": "candidate"},
}


def renaming(path: str) -> str | None:
    """Return the sentence that tells a setting's new name and values, or None for other paths."""
    changes = [f"renamed to {RENAMED[path]}"] if path in RENAMED else []
    changes += [f"{old} is now {new}" for old, new in RENAMED_VALUES.get(path, {}).items()]
    return ", and ".join(changes) or None


def with_current_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration with renamed settings under their current names."""
    tree = copy.deepcopy(dict(config))
    for old in {**RENAMED, **RENAMED_VALUES}:
        *parents, name = old.split(".")
        section: Any = tree
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if isinstance(section, dict) and name in section:
            value = section[name]
            if isinstance(value, str):
                value = RENAMED_VALUES.get(old, {}).get(value, value)
            if old in RENAMED:
                del section[name]
                name = RENAMED[old].rpartition(".")[2]
            section[name] = value
    return tree
