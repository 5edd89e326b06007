"""TF Serving's model config beside the versions of a model: which are loaded, and which bear a label."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from pipeline.errors import UserError
from pipeline.write_whole import write_whole
from serving.config.messages import ModelServerConfig
from serving.config.read_text_proto import read_text_proto
from serving.versions import complete_versions

NAME = "models.config"
STABLE, CANARY = "stable", "canary"
_HEADER = (
    "# Written when the versions change: base_path and the labels. The rest is kept as it stands here.\n"
)


def write_models_config(base_path: Path, *, leaving: Collection[int] = ()) -> Path:
    """Brings the file up to date with the versions that are there, and returns it.

    It is made from `serving/config/models.config` where there is none.

    Args:
        base_path: the served folder.
        leaving: versions that will not be there much longer, and get no label.

    Raises:
        UserError: the file cannot be read, or has not one model.
    """
    file = base_path / NAME
    config = read_models_config(file if file.is_file() else _template())
    (model,) = config.model_config_list.config
    labels = next_labels(model.version_labels, set(complete_versions(base_path)) - set(leaving))
    model.base_path = str(base_path.resolve())
    model.version_labels.clear()
    model.version_labels.update(labels)
    write_whole(file, _HEADER + text_format.MessageToString(config))
    return file


def read_models_config(file: Path) -> Any:
    """The ModelServerConfig of one model.

    Raises:
        UserError: the file cannot be read, or has not one model.
    """
    config = read_text_proto(file, ModelServerConfig)
    if len(config.model_config_list.config) != 1:
        raise UserError(f"{file} must have one model in its model_config_list")
    return config


def next_labels(labels: Mapping[str, int], versions: Collection[int]) -> dict[str, int]:
    """Which version bears which label, now that these are there.

    `canary` is the newest. `stable` stays where it is while nothing is pushed; a push moves it to the version
    that was the newest until then, which has stood its trial. A rollback takes both along. Other labels stay
    on versions that are still there.

    Args:
        labels: until now.
        versions: that are there now.
    """
    if not versions:
        return {}
    newest = max(versions)
    tried = labels.get(CANARY, newest)
    stable = tried if newest > tried else min(labels.get(STABLE, newest), newest)
    others = {label: version for label, version in labels.items() if version in versions}
    return {**others, STABLE: stable if stable in versions else newest, CANARY: newest}


def loaded_versions(model: Any, versions: Collection[int]) -> set[int]:
    """Those of some versions that a server loads by the policy of a ModelConfig."""
    policy = model.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return set(versions)
        case "specific":
            return set(versions) & set(policy.specific.versions)
        case _:
            return set(sorted(versions)[-max(policy.latest.num_versions, 1) :])


def _template() -> Path:
    return Path(str(resources.files("serving.config") / NAME))
