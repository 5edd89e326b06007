"""Paths of a compiled pipeline on the machine that simulates it: mapped below a folder, or checked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

import schemas
from knet.base.errors import UserError
from pipeline.config.config import Config

_FOLDERS: Final = ("checkpoints", "cache_root", "registry", "push_folder", "shared_dir")
_DATA: Final = ("data_source", "data_root")
_OF_PODS: Final = ("volumes", "shared_dir")  # settings of pods, which are valid for mount paths only


def map_paths(spec: dict[str, Any], config: Config, folder: Path) -> tuple[dict[str, Any], Config]:
    """Map the paths of the containers below a folder, `/data/registry` to `<folder>/data/registry`.

    Mapped are the paths of the `kubeflow` section and everything on its volumes. Folders that the containers
    write to are created, and the schema is copied from this machine. Weights and split file stay: compiling
    requires them on this machine.

    Args:
        spec: the PipelineSpec.
        config: the configuration that it was compiled from.
        folder: absolute path, for the files of the containers.

    Returns:
        The PipelineSpec and the configuration with the mapped paths; the arguments stay unchanged.

    Raises:
        UserError: the schema is not on this machine.
    """
    paths = {name: getattr(config.kubeflow, name) for name in ("schema_file", *_FOLDERS, *_DATA)}
    roots = [path for path in paths.values() if _is_path(path)]
    roots += [volume.mount_path for volume in config.kubeflow.volumes]
    kept = {str(file) for file in _config_files(config).values()}
    mapped: dict[str, Any] = _mapped(spec, folder, roots, kept)
    local = {name: path and _mapped_path(path, folder, roots) for name, path in paths.items()}
    _make_files(local, folder, schema=config.data.schema_file or schemas.BREAKHIS)
    return mapped, config.model_copy(update={"kubeflow": config.kubeflow.model_copy(update=local)})


def _make_files(paths: Mapping[str, str | None], folder: Path, *, schema: Path) -> None:
    """Create the folders below `folder` that containers write to, and copy the schema there."""
    below = {name: Path(path) for name, path in paths.items() if path and path.startswith(f"{folder}/")}
    for name in below.keys() & set(_FOLDERS):
        below[name].mkdir(parents=True, exist_ok=True)
    if copy := below.get("schema_file"):
        if not schema.is_file():
            raise UserError(f"data.schema_file: {schema} is not on this machine; compile the pipeline here")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(schema, copy)


def _mapped(value: Any, folder: Path, roots: Collection[str], kept: Collection[str]) -> Any:
    """Return a copy of JSON with mapped paths, also in texts that hold JSON."""
    if isinstance(value, dict):
        return {
            name: item if name in _OF_PODS else _mapped(item, folder, roots, kept)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_mapped(item, folder, roots, kept) for item in value]
    if not isinstance(value, str) or value in kept:
        return value
    if value.startswith(("{", "[")):
        try:
            return json.dumps(_mapped(json.loads(value), folder, roots, kept))
        except ValueError:
            return value  # a placeholder of the launcher, such as {{$}}
    return _mapped_path(value, folder, roots)


def _mapped_path(path: str, folder: Path, roots: Collection[str]) -> str:
    is_below = path.startswith("/") and any(PurePosixPath(path).is_relative_to(root) for root in roots)
    return f"{folder}{path}" if is_below else path


def _is_path(value: str | None) -> bool:
    """Return whether a setting is a path, not a URI or nothing."""
    return bool(value) and "://" not in str(value)


def check_paths(config: Config, parameters: Mapping[str, Any]) -> None:
    """Check that the paths of a pipeline exist on this machine; URIs are not checked.

    Args:
        config: the configuration of the pipeline.
        parameters: of the run, by name.

    Raises:
        UserError: paths are missing; the message names each with its field.
    """
    kubeflow = config.kubeflow
    paths = {f"kubeflow.{name}": getattr(kubeflow, name) for name in ("schema_file", *_FOLDERS)}
    paths |= {name: parameters[name] for name in _DATA}
    if parameters["registry"] != kubeflow.registry:
        paths["registry"] = parameters["registry"]
    paths |= {field: str(file) for field, file in _config_files(config).items()}
    missing = {field: path for field, path in paths.items() if _is_path(path) and not Path(path).exists()}
    if missing:
        remedies = [
            *(["name the images with --data"] if missing.keys() & set(_DATA) else []),
            *(["--local keeps the files below --root"] if missing.keys() - set(_DATA) else []),
        ]
        listed = ", ".join(f"{field}={path}" for field, path in missing.items())
        raise UserError(f"not on this machine: {listed}; {', and '.join(remedies)}")


def _config_files(config: Config) -> dict[str, Path]:
    """Return the files that a configuration names for containers and compiler, by field."""
    files = {"data.split.file": config.data.split.file}
    files |= {f"candidates.{name}.weights": item.weights_file for name, item in config.candidates.items()}
    return {field: file for field, file in files.items() if file}
