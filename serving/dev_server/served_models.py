"""Which versions of which models are in memory, and who gets which."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpc import StatusCode

from serving.dev_server.loaded_version import LoadedVersion
from serving.dev_server.refusal import Refusal, invalid
from serving.dev_server.warm_up import warm_up
from serving.model_store.models_config import loaded_versions
from serving.versions import SAVED_MODEL, complete_versions

_LOG = logging.getLogger(__name__)


@dataclass
class VersionStatus:
    """How a version fares, in TF Serving's words."""

    state: str  # LOADING, AVAILABLE, UNLOADING or END
    error: str = ""  # why it could not be loaded


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
            config: a ModelServerConfig of `serving.config.messages`.
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
            raise invalid("ModelSpec has no name specified.")
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
                    raise invalid(f"Unrecognized servable version label: {spec.version_label}")
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
                raise Refusal(StatusCode.NOT_FOUND, f"Could not find version {number} of model {spec.name}")
            return {number: statuses[number]}
        if not statuses:
            raise Refusal(StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
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
                    raise invalid(f"Could not find base path {model.base_path} for servable {model.name}")
                self._check_labels(model)
            for name in set(self._models) - set(models):
                served = self._models.pop(name)
                for number in list(served.loaded):
                    _let_go(served, number)
            for name, model in models.items():
                self._models.setdefault(name, _Served(model)).config = model
                await self._update(self._models[name])
            missing = [name for name, served in self._models.items() if not served.loaded]
            if missing:
                raise Refusal(
                    StatusCode.UNKNOWN, f"Some models did not become available: {{{', '.join(missing)}}}"
                )

    def _check_labels(self, model: Any) -> None:
        """Refuses to move a label to a version that does not answer: its users would be turned away."""
        served = self._models.get(model.name)
        for label, version in model.version_labels.items():
            until_now = served.config.version_labels.get(label, version) if served else version
            if served and until_now != version and not served.available(version):
                raise Refusal(
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
                _let_go(served, number)

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


def _let_go(served: _Served, number: int) -> None:
    status = served.statuses[number] = VersionStatus("UNLOADING")
    weakref.finalize(served.loaded.pop(number), setattr, status, "state", "END")
    _LOG.info("version %s of %s is served no more", number, served.config.name)


def _check(config: Any) -> None:
    if config.WhichOneof("config") != "model_config_list":
        raise invalid(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
            "currently supported"
        )
    names = set()
    for model in config.model_config_list.config:
        if not model.name or not Path(model.base_path).is_absolute():
            raise invalid(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}"
            )
        if model.name in names:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)


def _not_found(request: str) -> Refusal:
    return Refusal(StatusCode.NOT_FOUND, f"Servable not found for request: {request}")
