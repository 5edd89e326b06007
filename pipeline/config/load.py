"""Reads configurations from presets, files and overrides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from knet.base.errors import UserError
from knet.base.settings import describe_errors, merge
from pipeline.config.config import Config

PRESETS = ("demo", "paper", "production")
EXTENDS = "extends"  # key of a file, which names a preset


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration and apply `key.path=value` overrides.

    Args:
        source: name of a preset, a YAML file, or the folder of an overlay: its `knet.yaml`, with the
            namespace of its `kustomization.yaml` as `kubeflow.namespace`. A file may extend a preset:
            `extends: production` and the fields that differ. A list of `candidates` selects some.
        overrides: of fields, such as `training.epochs=75` or `candidates=mobilenet,vgg16`.

    Raises:
        UserError: the file cannot be read, or a field is unknown, renamed or out of range; the message has a
            line for each such field, with what is allowed.
    """
    is_overlay = source not in PRESETS and (Path(source) / "knet.yaml").is_file()
    tree = _read_overlay(Path(source)) if is_overlay else _read_file(source)
    for override in overrides:
        _apply_override(tree, override)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        problems = [f"  {line}" for line in describe_errors(error, Config)]
        raise UserError("\n".join([f"configuration {source}:", *problems])) from None


def configuration_name(source: str | Path) -> str:
    """Return a name for the screen: the preset, or the file and where its other fields come from.

    Args:
        source: as for `load_config`, which has read it.
    """
    if source in PRESETS:
        return f"preset {source}"
    file = Path(source) / "knet.yaml" if Path(source).is_dir() else Path(source)
    preset = _read_yaml(file).get(EXTENDS)
    others = f"extends preset {preset}" if preset else "extends no preset: other fields have their defaults"
    return f"{source} ({others})"


def initial_file(preset: str, *, title: str) -> str:
    """Return a configuration file to begin with: it extends a preset, whose fields are comments.

    Args:
        preset: name of the preset.
        title: text that the names of the pipeline and of its folder below `runs` are made from.
    """
    name = re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")[:36].rstrip("-") or "pipeline"
    _, _, body = _preset_text(preset).partition("\n\n")
    comments = "".join(f"# {line}".rstrip() + "\n" for line in body.splitlines())
    return (
        f"{EXTENDS}: {preset} # fields that this file does not set have the values of the preset\n"
        f"name: knet-{name}\noutput: runs/{name}\n\n"
        "# The preset's fields: remove the # of a section and of the fields in it that differ here.\n"
        f"# `knet config explain FIELD` describes one.\n#\n{comments}"
    )


def _preset_text(preset: str) -> str:
    return (resources.files("pipeline.config") / "presets" / f"{preset}.yaml").read_text(encoding="utf-8")


def _read_overlay(folder: Path) -> dict[str, Any]:
    tree = _read_file(folder / "knet.yaml")
    namespace = _read_yaml(folder / "kustomization.yaml").get("namespace")
    kubeflow = tree.setdefault("kubeflow", {})
    if namespace and isinstance(kubeflow, dict) and kubeflow.setdefault("namespace", namespace) != namespace:
        raise UserError(
            f"configuration {folder / 'knet.yaml'}: kubeflow.namespace is {kubeflow['namespace']}, but the "
            f"kustomization beside it deploys to {namespace}; remove kubeflow.namespace"
        )
    return tree


def _read_file(source: str | Path) -> dict[str, Any]:
    """Return the fields of a file, merged into those of the preset that it extends."""
    tree = _read_yaml(source)
    preset = tree.pop(EXTENDS, None)
    if preset is None:
        return tree
    if preset not in PRESETS:
        raise UserError(
            f"configuration {source}: {EXTENDS}: {preset!r} is no preset; there are {', '.join(PRESETS)}"
        )
    base = _read_yaml(preset)
    merged = merge(base, tree)
    if _CANDIDATES in tree:
        merged[_CANDIDATES] = _select(base.get(_CANDIDATES), merged[_CANDIDATES])
    return merged


_CANDIDATES = "candidates"


def _select(settings: Any, candidates: Any) -> Any:
    """Return the candidates that a list (or text with commas) names, with their settings; else unchanged."""
    names = candidates.split(",") if isinstance(candidates, str) else candidates
    if not isinstance(names, list):
        return candidates
    known = settings if isinstance(settings, dict) else {}
    return {str(name).strip(): known.get(str(name).strip()) for name in names}


def _read_yaml(source: str | Path) -> dict[str, Any]:
    if source in PRESETS:
        text = _preset_text(str(source))
    else:
        try:
            text = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"cannot read configuration {source}: {error.strerror}; name a YAML file or one of the "
                f"presets {', '.join(PRESETS)}"
            ) from None
        except UnicodeDecodeError:
            raise UserError(f"configuration {source} is not a text file in UTF-8") from None
    try:
        tree = yaml.load(text, _UniqueKeys) or {}
    except yaml.YAMLError as error:
        raise UserError(f"configuration {source} is not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise UserError(
            f"configuration {source} must hold fields (`name: value`), not a {type(tree).__name__}"
        )
    return tree


class _UniqueKeys(yaml.SafeLoader):
    """Loader that refuses a key that stands twice in a mapping, of which YAML would drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            name = str(key.value)
            if name in lines:
                raise yaml.constructor.ConstructorError(
                    problem=f"{name} stands in line {lines[name]} and in line {line}; merge the two"
                )
            lines[name] = line
        return super().construct_mapping(node, deep)


def _apply_override(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"--set {override}: write it as key.path=value, such as training.epochs=75")
    root = tree
    *parents, last = path.split(".")
    for name in parents:
        child = tree.setdefault(name, {})
        if not isinstance(child, dict):
            child = tree[name] = {}
        tree = child
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {override}: the value is not valid YAML") from None
    tree[last] = _select(root.get(_CANDIDATES), value) if path == _CANDIDATES else value
