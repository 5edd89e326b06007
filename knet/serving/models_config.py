"""TF Serving's configuration files: models.config beside the versions, batching parameters and monitoring."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from knet.base import artifact_files
from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.base.protos import load_messages

FILE_NAME = "models.config"
STABLE, CANARY = "stable", "canary"
_HEADER = (
    "# base_path and the labels are rewritten when the versions change; all other fields are preserved.\n"
)


def write_models_config(base_path: Path, *, excluded: Collection[int] = ()) -> Path:
    """Update models.config to the complete versions of the served folder.

    A missing file is created from `knet/serving/config/models.config`.

    Args:
        base_path: the served folder.
        excluded: versions that get no label, because they are about to be withdrawn.

    Returns:
        The file.

    Raises:
        UserError: the file cannot be read, or does not configure exactly one model.
    """
    file = base_path / FILE_NAME
    config = read_models_config(file if file.is_file() else config_folder() / FILE_NAME)
    (model,) = config.model_config_list.config
    labels = next_labels(model.version_labels, set(complete_versions(base_path)) - set(excluded))
    model.base_path = str(base_path.resolve())
    model.version_labels.clear()
    model.version_labels.update(labels)
    atomic_write(file, _HEADER + text_format.MessageToString(config))
    return file


def read_models_config(file: Path) -> Any:
    """Read a ModelServerConfig of one model.

    Raises:
        UserError: the file cannot be read, or does not configure exactly one model.
    """
    config = _read_text_proto(file, ModelServerConfig)
    if len(config.model_config_list.config) != 1:
        raise UserError(f"{file} must have one model in its model_config_list")
    return config


def config_folder() -> Path:
    """Folder of the bundled models.config, batching parameters and monitoring config."""
    return Path(str(resources.files("knet.serving.config")))


def next_labels(labels: Mapping[str, int], versions: Collection[int]) -> dict[str, int]:
    """Assign the labels to the versions that exist now.

    - `canary` is the newest version.
    - `stable` stays until a push, which moves it to the previous canary. A rollback moves it down with it.
    - Other labels stay on versions that still exist.

    Args:
        labels: version by label, before the change.
        versions: versions after the change.

    Returns:
        Version by label, after the change; empty if there is no version.
    """
    if not versions:
        return {}
    newest = max(versions)
    canary = labels.get(CANARY, newest)
    stable = canary if newest > canary else min(labels.get(STABLE, newest), newest)
    others = {label: version for label, version in labels.items() if version in versions}
    return {**others, STABLE: stable if stable in versions else newest, CANARY: newest}


def loaded_versions(model: Any, versions: Collection[int]) -> set[int]:
    """The versions that a server loads by the policy of a ModelConfig.

    Args:
        model: a ModelConfig message.
        versions: versions in the served folder.
    """
    policy = model.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return set(versions)
        case "specific":
            return set(versions) & set(policy.specific.versions)
        case _:
            return set(sorted(versions)[-max(policy.latest.num_versions, 1) :])


def complete_versions(base_path: Path) -> dict[int, Path]:
    """Folders of the complete versions by version number, ascending; empty if the folder is missing."""
    if not base_path.is_dir():
        return {}
    found = {
        int(folder.name): folder
        for folder in base_path.iterdir()
        if folder.name.isdecimal() and (folder / artifact_files.SAVED_MODEL).is_file()
    }
    return dict(sorted(found.items()))


def newest_version(base_path: Path) -> Path | None:
    """Folder of the highest complete version, which TF Serving serves by default; None if there is none."""
    return next(reversed(complete_versions(base_path).values()), None)


@dataclass(frozen=True)
class Batching:
    """TF Serving's batching parameters, with its defaults."""

    max_batch_size: int = 1000  # rows
    batch_timeout_micros: int = 0  # longest wait of a batch's first request for others, in microseconds
    max_enqueued_batches: int = 10
    num_batch_threads: int = 1
    allowed_batch_sizes: tuple[int, ...] = ()  # rows; a batch is padded to the next one; empty: no padding

    def padded_size(self, rows: int) -> int:
        """Rows of a batch after padding."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read_batching(file: Path) -> Batching:
    """Read a batching parameters file.

    Raises:
        UserError: the file cannot be read, a number is out of range, or the allowed sizes do not increase to
            the maximum.
    """
    message = _read_text_proto(file, BatchingParameters)
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    values = {name: getattr(message, name).value for name in names if message.HasField(name)}
    for name, value in values.items():
        minimum = 0 if name == "batch_timeout_micros" else 1
        if value < minimum:
            raise UserError(f"{file}: {name} must be at least {minimum}, not {value}")
    batching = Batching(**values, allowed_batch_sizes=tuple(message.allowed_batch_sizes))
    sizes = batching.allowed_batch_sizes
    if sizes and not (_is_increasing(sizes) and sizes[0] > 0 and sizes[-1] == batching.max_batch_size):
        raise UserError(
            f"{file}: allowed_batch_sizes must increase and end at max_batch_size {batching.max_batch_size}, "
            f"not be {', '.join(map(str, sizes))}"
        )
    return batching


def _is_increasing(sizes: Sequence[int]) -> bool:
    return list(sizes) == sorted(set(sizes))


METRICS_PATH = "/monitoring/prometheus/metrics"  # TF Serving's default


def read_metrics_path(file: Path) -> str | None:
    """Read from a monitoring config the REST path of the metrics; None if it enables none.

    Raises:
        UserError: the file cannot be read.
    """
    prometheus = _read_text_proto(file, MonitoringConfig).prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else None


_MESSAGES = load_messages(Path(__file__).with_name("config") / "settings.binpb")

ModelServerConfig = _MESSAGES["ModelServerConfig"]
BatchingParameters = _MESSAGES["BatchingParameters"]
MonitoringConfig = _MESSAGES["MonitoringConfig"]
SSLConfig = _MESSAGES["SSLConfig"]


def _read_text_proto(file: Path, message_class: Any) -> Any:
    """Read a message from a file in protobuf's text format.

    Raises:
        UserError: the file cannot be read, or has a field that the class lacks; the error names the line.
    """
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), message_class())
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not a {message_class.DESCRIPTOR.name} in text format: {error}") from None
