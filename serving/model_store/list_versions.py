"""What a served folder holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serving.model_store.models_config import NAME, loaded_versions, read_models_config
from serving.model_store.withdrawn import withdrawn_versions
from serving.versions import complete_versions


@dataclass(frozen=True)
class StoredVersion:
    """One version."""

    number: int
    state: str  # served: a server that follows the model config has it loaded; kept; or withdrawn
    labels: tuple[str, ...]
    size: int  # bytes


def list_versions(base_path: Path) -> list[StoredVersion]:
    """All versions, the newest first."""
    versions = complete_versions(base_path)
    loaded, labels = set(sorted(versions)[-1:]), {}
    if (base_path / NAME).is_file():
        (model,) = read_models_config(base_path / NAME).model_config_list.config
        loaded, labels = loaded_versions(model, versions), dict(model.version_labels)
    states = {
        **dict.fromkeys(withdrawn_versions(base_path), "withdrawn"),
        **{number: "served" if number in loaded else "kept" for number in versions},
    }
    folders = {**withdrawn_versions(base_path), **versions}
    return [
        StoredVersion(
            number=number,
            state=states[number],
            labels=tuple(sorted(label for label, version in labels.items() if version == number)),
            size=sum(path.stat().st_size for path in folders[number].rglob("*") if path.is_file()),
        )
        for number in sorted(states, reverse=True)
    ]
