"""Which versions of which models are in memory, and who gets which."""

from __future__ import annotations

import asyncio
import logging
import re
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from grpc import StatusCode
from numpy.typing import NDArray
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import prediction_log_pb2

from knet.serving.dev_server.errors import StatusError, invalid_argument
from knet.serving.dev_server.tensors import array_of
from knet.serving.models_config import SAVED_MODEL, complete_versions, loaded_versions

_LOG = logging.getLogger(__name__)


@dataclass
class VersionStatus:
    """How a version fares, in TF Serving's words."""

    state: str  # LOADING, AVAILABLE, UNLOADING or END
    error: str = ""  # why it could not be loaded


class LoadedVersion:
    """A SavedModel in a session of its own, as TF Serving holds it; freed with the last who uses it."""

    def __init__(self, folder: Path) -> None:
        """Loads a version.

        Raises:
            tf.errors.OpError, or what else TensorFlow raises: it is no SavedModel, or cannot be loaded.
        """
        self.folder = folder
        self.number = int(folder.name)
        graph = tf.Graph()
        session = tf.compat.v1.Session(graph=graph)
        weakref.finalize(self, session.close)
        with graph.as_default(), _quiet():
            loaded = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder))
        self.signature_defs = dict(loaded.signature_def)
        self._signatures: dict[str, Signature] = {}
        self._run: dict[str, Any] = {}
        for name, definition in self.signature_defs.items():
            if not definition.method_name:  # of the signature that initialises a model
                continue
            signature = Signature(
                name, dict(definition.inputs), tuple(sorted(definition.outputs)), definition.method_name
            )
            self._signatures[name] = signature
            # Private, but the public `make_callable` takes twice as long, and hides errors in a traceback.
            self._run[name] = session._make_callable_from_options(
                config_pb2.CallableOptions(
                    feed=[definition.inputs[alias].name for alias in sorted(definition.inputs)],
                    fetch=[definition.outputs[alias].name for alias in signature.outputs],
                )
            )

    def signature(self, name: str) -> Signature | None:
        """The signature of a name, or None."""
        return self._signatures.get(name)

    def run(self, signature: Signature, arrays: Arrays) -> Arrays:
        """Asks the model; blocks.

        Args:
            signature: of this version.
            arrays: its inputs, which it has checked.

        Raises:
            Refusal: the graph raised an error, such as of an image that cannot be decoded.
        """
        feeds = [arrays[alias] for alias in sorted(arrays)]
        try:
            values = self._run[signature.name](*feeds)
        except tf.errors.OpError as error:
            raise StatusError.numbered(error.error_code, _cause(error.message)) from None
        except UnicodeDecodeError as error:
            # TensorFlow 2.21 stumbles over its own message where that quotes bytes of the input.
            raise invalid_argument(_cause(error.object.decode(errors="backslashreplace"))) from None
        return dict(zip(signature.outputs, map(np.asarray, values), strict=True))


@dataclass
class _Served:
    """One model."""

    config: Any  # a ModelConfig
    loaded: dict[int, LoadedVersion] = field(default_factory=dict)
    statuses: dict[int, VersionStatus] = field(default_factory=dict)
    failed: dict[int, float] = field(default_factory=dict)  # when the SavedModel was written that failed

    def available(self, version: int) -> bool:
        return version in self.loaded


class ServedModels:
    """The models of a ModelServerConfig, kept as their folders and the config have them.

    All methods belong to one event loop. A request holds on to the version that `find` gave it: a version
    that is no longer wanted is freed when the last request has ended.
    """

    def __init__(self, config: Any, *, loads: Callable[[str, str], None] = lambda path, status: None) -> None:
        """Takes the config on; `update` loads.

        Args:
            config: a ModelServerConfig of `knet.serving.models_config`.
            loads: is told of each attempt to load: the folder, and OK or what went wrong.

        Raises:
            Refusal: the config names a model twice, or lacks a name or folder.
        """
        _check(config)
        self._models = {model.name: _Served(model) for model in config.model_config_list.config}
        self._loads = loads
        self._changing = asyncio.Lock()

    @property
    def names(self) -> Collection[str]:
        """Of the models."""
        return self._models.keys()

    @property
    def ready(self) -> bool:
        """Whether every model has a version that answers."""
        return all(served.loaded for served in self._models.values())

    @property
    def errors(self) -> list[str]:
        """Why versions could not be loaded."""
        return [
            f"version {version} of {name}: {status.error}"
            for name, served in self._models.items()
            for version, status in sorted(served.statuses.items())
            if status.error
        ]

    def find(self, spec: Any) -> LoadedVersion:
        """The version that a ModelSpec asks for.

        Raises:
            Refusal: there is none; code and words are TF Serving's.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        served = self._models.get(spec.name)
        match spec.WhichOneof("version_choice"):
            case None:
                if served and served.loaded:
                    return served.loaded[max(served.loaded)]
                raise _not_found(f"Latest({spec.name})")
            case "version":
                number = spec.version.value
            case _:
                labels = served.config.version_labels if served else {}
                if spec.version_label not in labels:
                    raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
                number = labels[spec.version_label]
        if served is None or not served.available(number):
            raise _not_found(f"Specific({spec.name}, {number})")
        return served.loaded[number]

    def statuses(self, spec: Any) -> dict[int, VersionStatus]:
        """How the version fares that a ModelSpec names, or all versions of its model.

        Raises:
            Refusal: there is none.
        """
        served = self._models.get(spec.name)
        statuses = served.statuses if served else {}
        if spec.HasField("version"):
            number = spec.version.value
            if number not in statuses:
                raise StatusError(
                    StatusCode.NOT_FOUND, f"Could not find version {number} of model {spec.name}"
                )
            return {number: statuses[number]}
        if not statuses:
            raise StatusError(StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        return dict(sorted(statuses.items()))

    async def update(self) -> None:
        """Loads what the folders and the policies want, and lets go of the rest."""
        async with self._changing:
            for served in self._models.values():
                await self._update(served)

    async def reload(self, config: Any) -> None:
        """Replaces the config, and loads and lets go accordingly.

        Raises:
            Refusal: the config is refused, and the old one stays; or a model has no version that could be
                loaded.
        """
        _check(config)
        async with self._changing:
            models = {model.name: model for model in config.model_config_list.config}
            for model in models.values():
                if not Path(model.base_path).is_dir():
                    raise invalid_argument(
                        f"Could not find base path {model.base_path} for servable {model.name}"
                    )
                self._check_labels(model)
            for name in set(self._models) - set(models):
                served = self._models.pop(name)
                for number in list(served.loaded):
                    _unload(served, number)
            for name, model in models.items():
                self._models.setdefault(name, _Served(model)).config = model
                await self._update(self._models[name])
            missing = [name for name, served in self._models.items() if not served.loaded]
            if missing:
                raise StatusError(
                    StatusCode.UNKNOWN, f"Some models did not become available: {{{', '.join(missing)}}}"
                )

    def _check_labels(self, model: Any) -> None:
        """Refuses to move a label to a version that does not answer: its users would be turned away."""
        served = self._models.get(model.name)
        for label, version in model.version_labels.items():
            until_now = served.config.version_labels.get(label, version) if served else version
            if served and until_now != version and not served.available(version):
                raise StatusError(
                    StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {model.name}, which is not "
                    "currently available for inference",
                )

    async def _update(self, served: _Served) -> None:
        folders = await asyncio.to_thread(complete_versions, Path(served.config.base_path))
        wanted = loaded_versions(served.config, folders)
        for number in sorted(wanted - set(served.loaded)):
            await self._load(served, number, folders[number])
        # What is no longer wanted goes when something that is wanted answers, or nothing is wanted.
        if not wanted or wanted & set(served.loaded):
            for number in set(served.loaded) - wanted:
                _unload(served, number)

    async def _load(self, served: _Served, number: int, folder: Path) -> None:
        try:
            written = (folder / SAVED_MODEL).stat().st_mtime
        except FileNotFoundError:  # withdrawn just now
            return
        if served.failed.get(number) == written:
            return
        served.statuses[number] = VersionStatus("LOADING")
        try:
            version = await asyncio.to_thread(_load, folder)
        except Exception as error:  # of many kinds, such as of a damaged file
            served.failed[number] = written
            served.statuses[number] = VersionStatus("END", str(error).partition("\n")[0])
            self._loads(str(folder), type(error).__name__)
            _LOG.error("version %s of %s cannot be loaded: %s", number, served.config.name, error)
            return
        served.loaded[number] = version
        served.statuses[number] = VersionStatus("AVAILABLE")
        self._loads(str(folder), "OK")
        _LOG.info("version %s of %s is served", number, served.config.name)


def _load(folder: Path) -> LoadedVersion:
    version = LoadedVersion(folder)
    warm_up(version)
    return version


def _unload(served: _Served, number: int) -> None:
    status = served.statuses[number] = VersionStatus("UNLOADING")
    weakref.finalize(served.loaded.pop(number), setattr, status, "state", "END")
    _LOG.info("version %s of %s is served no more", number, served.config.name)


def _check(config: Any) -> None:
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
            "currently supported"
        )
    names = set()
    for model in config.model_config_list.config:
        if not model.name or not Path(model.base_path).is_absolute():
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}"
            )
        if model.name in names:
            raise invalid_argument(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)


def _not_found(request: str) -> StatusError:
    return StatusError(StatusCode.NOT_FOUND, f"Servable not found for request: {request}")


Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Signature:
    """A way to ask a model."""

    name: str
    inputs: Mapping[str, Any]  # TensorInfos by alias
    outputs: tuple[str, ...]  # aliases
    method: str  # as `tensorflow/serving/classify`

    def check(self, arrays: Arrays) -> None:
        """Refuses inputs that are not those of the signature, by name, type or shape."""
        sent, wanted = sorted(arrays), sorted(self.inputs)
        if sent != wanted:
            raise invalid_argument(
                f"input size does not match signature: {len(sent)}!={len(wanted)} "
                f"len({{{','.join(sent)}}}) != len({{{','.join(wanted)}}}). "
                f"Sent extra: {{{','.join(set(sent) - set(wanted))}}}. "
                f"Missing but required: {{{','.join(set(wanted) - set(sent))}}}."
            )
        for alias, array in arrays.items():
            dtype = tf.dtypes.as_dtype(self.inputs[alias].dtype)
            if tf.dtypes.as_dtype(array.dtype) != dtype:
                raise invalid_argument(
                    f"input {alias!r} must be {dtype.name}, not {tf.dtypes.as_dtype(array.dtype).name}"
                )
            shape = tf.TensorShape(self.inputs[alias].tensor_shape)
            if not shape.is_compatible_with(array.shape):
                raise invalid_argument(f"input {alias!r} must have the shape {shape}, not {array.shape}")

    @property
    def batches(self) -> bool:
        """Whether the first dimension of every input is the batch's."""
        shapes = [info.tensor_shape for info in self.inputs.values()]
        return all(not s.unknown_rank and len(s.dim) and s.dim[0].size == -1 for s in shapes)


def _cause(message: str) -> str:
    """What went wrong, without the graph's nodes that TensorFlow names in the lines that follow."""
    first, _, rest = message.partition("\n")
    several = re.match(r"\d+ root error\(s\) found", first)  # of operations that ran at the same time
    return re.sub(r"^\s*\(0\) \w+: ", "", rest.partition("\n")[0]) if several else first


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TensorFlow from warning that its newer loader, which cannot free a model, is to be preferred."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def requested_outputs(signature: Signature, output_filter: Iterable[str]) -> tuple[str, ...]:
    """The outputs that a request asks for, all where it names none.

    Raises:
        Refusal: it names one twice, or one that there is not.
    """
    wanted = tuple(output_filter)
    for number, alias in enumerate(wanted):
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{','.join(signature.outputs)}}}."
            )
        if alias in wanted[:number]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return wanted or signature.outputs


_FILE = "assets.extra/tf_serving_warmup_requests"
_DEFAULT = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


def warm_up(version: LoadedVersion) -> int:
    """Answers them, and says how many there were.

    Raises:
        Refusal: the model does not answer one; TF Serving does not load such a model either.
    """
    file = version.folder / _FILE
    if not file.is_file():
        return 0
    records = list(tf.data.TFRecordDataset([str(file)]).as_numpy_iterator())
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        signature = predict_signature(version, request.model_spec)
        arrays = {name: array_of(name, proto) for name, proto in request.inputs.items()}
        signature.check(arrays)
        version.run(signature, arrays)
    return len(records)


def predict_signature(version: LoadedVersion, spec: Any) -> Signature:
    """The signature that a predict request asks.

    Raises:
        Refusal: there is none of that name.
    """
    name = spec.signature_name or _DEFAULT
    signature = version.signature(name)
    if signature is None:
        raise StatusError(StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    return signature
