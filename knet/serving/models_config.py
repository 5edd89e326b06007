"""TF Serving's model config beside the versions of a model: which are loaded, and which bear a label."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.base.protos import load_messages

NAME = "models.config"
STABLE, CANARY = "stable", "canary"
_HEADER = (
    "# Written when the versions change: base_path and the labels. The rest is kept as it stands here.\n"
)


def write_models_config(base_path: Path, *, leaving: Collection[int] = ()) -> Path:
    """Brings the file up to date with the versions that are there, and returns it.

    It is made from `knet/serving/config/models.config` where there is none.

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
    atomic_write(file, _HEADER + text_format.MessageToString(config))
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
    return Path(str(resources.files("knet.serving.config") / NAME))


_MESSAGES = load_messages(Path(__file__).with_name("config") / "settings.binpb")

ModelServerConfig = _MESSAGES["ModelServerConfig"]
BatchingParameters = _MESSAGES["BatchingParameters"]
MonitoringConfig = _MESSAGES["MonitoringConfig"]
SSLConfig = _MESSAGES["SSLConfig"]


def read_text_proto(file: Path, message: Any) -> Any:
    """One message of a class.

    Raises:
        UserError: the file cannot be read, or has a field that the class lacks; the text names the line.
    """
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), message())
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no {message.DESCRIPTOR.name} in text form: {error}") from None


@dataclass(frozen=True)
class Batching:
    """TF Serving's batching parameters, with its defaults."""

    max_batch_size: int = 1000  # rows
    batch_timeout_micros: int = (
        0  # that the first request of a batch waits for others, while a thread is idle
    )
    max_enqueued_batches: int = 10
    num_batch_threads: int = 1
    allowed_batch_sizes: tuple[
        int, ...
    ] = ()  # to the next of which a batch is filled up; empty fills up none

    def padded(self, rows: int) -> int:
        """The rows of a batch that has been filled up."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read_batching(file: Path) -> Batching:
    """Reads a batching parameters file.

    Raises:
        UserError: it cannot be read, a number is out of range, or the allowed sizes do not rise to the
            maximum.
    """
    message = read_text_proto(file, BatchingParameters)
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    given = {name: getattr(message, name).value for name in names if message.HasField(name)}
    for name, value in given.items():
        least = 0 if name == "batch_timeout_micros" else 1
        if value < least:
            raise UserError(f"{file}: {name} must be at least {least}, not {value}")
    batching = Batching(**given, allowed_batch_sizes=tuple(message.allowed_batch_sizes))
    sizes = batching.allowed_batch_sizes
    if sizes and not (_rise(sizes) and sizes[0] > 0 and sizes[-1] == batching.max_batch_size):
        raise UserError(
            f"{file}: allowed_batch_sizes must rise, and end at max_batch_size {batching.max_batch_size}, "
            f"not be {', '.join(map(str, sizes))}"
        )
    return batching


def _rise(sizes: Iterable[int]) -> bool:
    sizes = list(sizes)
    return sizes == sorted(set(sizes))


METRICS_PATH = "/monitoring/prometheus/metrics"  # TF Serving's own


def read_metrics_path(file: Path) -> str | None:
    """The path on the REST interface that a monitoring config names, or None where it enables none.

    Raises:
        UserError: the file cannot be read.
    """
    prometheus = read_text_proto(file, MonitoringConfig).prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else None


SAVED_MODEL = "saved_model.pb"  # written last, so a version folder without it is not ready


def complete_versions(base_path: Path) -> dict[int, Path]:
    """The folders of complete versions by their number, the lowest first; none without the folder."""
    if not base_path.is_dir():
        return {}
    found = {
        int(folder.name): folder
        for folder in base_path.iterdir()
        if folder.name.isdecimal() and (folder / SAVED_MODEL).is_file()
    }
    return dict(sorted(found.items()))


def newest_version(base_path: Path) -> Path | None:
    """The complete version folder with the highest number, which TF Serving serves, if there is one."""
    return next(reversed(complete_versions(base_path).values()), None)
