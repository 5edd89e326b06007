"""Keeps the versions that a model config wants in memory, and finds the one that a request names."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpc import StatusCode

from knet.base import artifact_files
from knet.serving.dev_server.errors import StatusError, invalid_argument
from knet.serving.dev_server.loaded_version import LoadedVersion, run_warm_up_requests
from knet.serving.models_config import complete_versions, loaded_versions

_LOG = logging.getLogger(__name__)


@dataclass
class VersionStatus:
    """State of a version, in TF Serving's terms."""

    state: str  # LOADING, AVAILABLE, UNLOADING or END
    error: str = ""  # why loading failed


class ServedModels:
    """The models of a ModelServerConfig, in step with their folders and the config.

    All methods must be called in the same event loop. A request holds a reference to the version that `find`
    returned: an unloaded version is freed when its last request has ended.
    """

    def __init__(
        self,
        config: Any,
        *,
        on_load: Callable[[str, str], None] = lambda path, status: None,
        warm_up: bool = True,
    ) -> None:
        """Check the config; `update` loads the versions.

        Args:
            config: a ModelServerConfig of `knet.serving.models_config`.
            on_load: called after each attempt to load a version, with its folder and OK or the error's type.
            warm_up: whether to run the warm-up requests of a version before it answers.

        Raises:
            StatusError: the config names a model twice, or a model lacks a name or an absolute folder.
        """
        check_config(config)
        self._models = {model.name: _ServedModel(model) for model in config.model_config_list.config}
        self._on_load = on_load
        self._warm_up = warm_up
        self._changing = asyncio.Lock()

    @property
    def names(self) -> Collection[str]:
        """Names of the models."""
        return self._models.keys()

    @property
    def ready(self) -> bool:
        """Whether every model has an available version."""
        return all(served.loaded for served in self._models.values())

    @property
    def errors(self) -> list[str]:
        """Reasons why versions could not be loaded."""
        return [
            f"version {version} of {name}: {status.error}"
            for name, served in self._models.items()
            for version, status in sorted(served.statuses.items())
            if status.error
        ]

    def find(self, spec: Any) -> LoadedVersion:
        """The version that a ModelSpec names, by default the newest.

        Raises:
            StatusError: it is not available; code and message are TF Serving's.
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
        if served is None or number not in served.loaded:
            raise _not_found(f"Specific({spec.name}, {number})")
        return served.loaded[number]

    def statuses(self, spec: Any) -> dict[int, VersionStatus]:
        """Status of the version that a ModelSpec names, by default of all versions of its model.

        Raises:
            StatusError: there is no such version.
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
        """Load the versions that the folders and policies ask for, and unload the rest."""
        async with self._changing:
            for served in self._models.values():
                await self._update(served)

    async def reload(self, config: Any) -> None:
        """Replace the config, and load and unload versions accordingly.

        Raises:
            StatusError: the config is invalid, and the old one stays; or a model has no version that could be
                loaded.
        """
        check_config(config)
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
                self._models.setdefault(name, _ServedModel(model)).config = model
                await self._update(self._models[name])
            missing = [name for name, served in self._models.items() if not served.loaded]
            if missing:
                raise StatusError(
                    StatusCode.UNKNOWN, f"Some models did not become available: {{{', '.join(missing)}}}"
                )

    def _check_labels(self, model: Any) -> None:
        """Refuse to move a label to a version that is not available: requests by that label would fail."""
        served = self._models.get(model.name)
        for label, version in model.version_labels.items():
            current = served.config.version_labels.get(label, version) if served else version
            if served and current != version and version not in served.loaded:
                raise StatusError(
                    StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {model.name}, which is not "
                    "currently available for inference",
                )

    async def _update(self, served: _ServedModel) -> None:
        folders = await asyncio.to_thread(complete_versions, Path(served.config.base_path))
        wanted = loaded_versions(served.config, folders)
        _unload_all_but(wanted, served)
        for number in sorted(wanted - set(served.loaded)):
            await self._load(served, number, folders[number])
            _unload_all_but(wanted, served)

    async def _load(self, served: _ServedModel, number: int, folder: Path) -> None:
        try:
            written = (folder / artifact_files.SAVED_MODEL).stat().st_mtime
        except FileNotFoundError:  # withdrawn in the meantime
            return
        if served.failed.get(number) == written:
            return
        served.statuses[number] = VersionStatus("LOADING")
        try:
            version = await _in_daemon_thread(lambda: _load(folder, warm_up=self._warm_up))
        except Exception as error:  # damaged files raise many types
            served.failed[number] = written
            served.statuses[number] = VersionStatus("END", str(error).partition("\n")[0])
            self._on_load(str(folder), type(error).__name__)
            _LOG.error("version %s of %s cannot be loaded: %s", number, served.config.name, error)
            return
        served.loaded[number] = version
        served.statuses[number] = VersionStatus("AVAILABLE")
        self._on_load(str(folder), "OK")
        _LOG.info("version %s of %s is available", number, served.config.name)


@dataclass
class _ServedModel:
    """A model of the config and its versions, by version number."""

    config: Any  # a ModelConfig
    loaded: dict[int, LoadedVersion] = field(default_factory=dict)
    statuses: dict[int, VersionStatus] = field(default_factory=dict)
    failed: dict[int, float] = field(default_factory=dict)  # modification time of the file that failed


def check_config(config: Any) -> None:
    """Check a ModelServerConfig.

    Raises:
        StatusError: it names a model twice, or a model lacks a name or an absolute folder.
    """
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


def _load(folder: Path, *, warm_up: bool) -> LoadedVersion:
    version = LoadedVersion(folder)
    if warm_up:
        version.optimize()
        run_warm_up_requests(version)
    return version


async def _in_daemon_thread(call: Callable[[], Any]) -> Any:
    """Call in a thread that the end of the process does not wait for, as it would for one of an executor."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def settle(method: Callable[[Any], None], value: Any) -> None:
        if not future.done():  # the server may have stopped
            method(value)

    def run() -> None:
        try:
            outcome = (future.set_result, call())
        except Exception as error:  # for the caller
            outcome = (future.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="load", daemon=True).start()
    return await future


def _unload_all_but(wanted: Collection[int], served: _ServedModel) -> None:
    """Unload the other versions; if versions are wanted, not before one of them is available."""
    if not wanted or not served.loaded.keys().isdisjoint(wanted):
        for number in served.loaded.keys() - wanted:
            _unload(served, number)


def _unload(served: _ServedModel, number: int) -> None:
    status = served.statuses[number] = VersionStatus("UNLOADING")
    weakref.finalize(served.loaded.pop(number), setattr, status, "state", "END")
    _LOG.info("version %s of %s is unloaded", number, served.config.name)
