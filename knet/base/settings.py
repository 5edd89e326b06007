"""Base class of the configuration's sections.

Each field states its description, range and default in its `Field`, and its unit in
`json_schema_extra={"unit": ...}`. `knet config explain`, `knet config schema` and docs/settings.md show them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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
}
# New value by former value, by former path.
RENAMED_VALUES: Mapping[str, Mapping[str, str]] = {"gate.insufficient": {"refuse": "fail"}}


def renaming(path: str) -> str | None:
    """Return the sentence that tells a renamed setting's new name, or None for other paths."""
    if path not in RENAMED:
        return None
    values = "".join(f", and {old} is now {new}" for old, new in RENAMED_VALUES.get(path, {}).items())
    return f"renamed to {RENAMED[path]}{values}"


def with_current_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration with renamed settings under their current names."""
    tree = copy.deepcopy(dict(config))
    for old, new in RENAMED.items():
        *parents, name = old.split(".")
        section: Any = tree
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if isinstance(section, dict) and name in section:
            value = section.pop(name)
            if isinstance(value, str):
                value = RENAMED_VALUES.get(old, {}).get(value, value)
            section[new.rpartition(".")[2]] = value
    return tree
