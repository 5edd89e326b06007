"""Descriptions of the settings, from the JSON schema of the configuration: text, Markdown, comments."""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from knet.base.errors import UserError
from knet.base.settings import RENAMED, RENAMED_VALUES, renaming
from pipeline.config.config import Config
from pipeline.config.load import EXTENDS, PRESETS

_PAGE_HEAD = """\
# Settings

Every field of the configuration. A field is set in a file (`--config FILE`) or on the command line
(`--set training.epochs=75`). `<name>` stands for a key of a map, `<n>` for an index of a list.

A file with `extends: production` holds the differences to that preset: its maps are merged key by key, all
other values replace those of the preset.

`knet config init mine.yaml` writes such a file, with the fields of the preset as comments. `knet run` and
`knet data describe` print which preset a file extends. The fields of one that extends none have the defaults
below, which are the paper's.

`make settings` generates this page from `pipeline/config`. On the command line, `knet config explain FIELD`
prints an entry, `knet config show` a configuration with comments, and `knet config schema` the JSON schema
for editors."""


@dataclass(frozen=True)
class Setting:
    """A field of the configuration.

    Attributes:
        path: names joined by dots; `<name>` stands for a key of a map, `<n>` for an index of a list.
        default: as YAML; None if the field is required.
    """

    path: str
    type: str
    default: str | None
    range: str
    unit: str
    description: str


@dataclass(frozen=True)
class SettingsSection:
    """A section of the configuration; its path is empty for the top level."""

    path: str
    description: str
    settings: tuple[Setting, ...]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of configuration files, for editors and validators."""
    schema = Config.model_json_schema()
    extends = {"enum": [*PRESETS], "description": "Preset with the values of fields that are not set."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "properties": {EXTENDS: extends, **schema["properties"]},
        "title": "knet configuration",
    }


@cache
def settings_sections() -> tuple[SettingsSection, ...]:
    """Return all sections in the order of the configuration, each before the sections in it."""
    schema = Config.model_json_schema()
    return tuple(_sections(schema, schema["$defs"], ""))


def explain(path: str | None = None) -> str:
    """Return the description of a field, of a section with all in it, or of the whole configuration.

    Args:
        path: such as `training.epochs`, `candidates.vgg16.weights` or `kubeflow`.

    Raises:
        UserError: there is no such field or section; the message names near matches.
    """
    sections = settings_sections()
    if path is None:
        return "\n\n".join(_section_text(section) for section in sections)
    if own := _OWN_SETTING.fullmatch(path):
        return explain(own[1])
    found = [
        _setting_text(setting)
        for section in sections
        for setting in section.settings
        if _matches(setting.path, path)
    ]
    found += [_section_text(section) for section in sections if _is_within(section.path, path)]
    if not found:
        raise UserError(_unknown(path))
    return "\n\n".join(found)


# Setting of one candidate that replaces a common one.
_OWN_SETTING = re.compile(r"candidates\.[^.]+\.((?:image|head|training)\..+)")


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = [_PAGE_HEAD]
    for section in settings_sections():
        lines += ["", f"## {section.path or 'Top level'}", ""]
        if section.path:
            lines += [section.description, ""]
        lines += [
            "| Field | Type | Default | Range | Unit | Description |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for setting in section.settings:
            default = "required" if setting.default is None else f"`{setting.default}`"
            cells = (
                f"`{setting.path}`",
                setting.type,
                default,
                setting.range,
                setting.unit,
                setting.description,
            )
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    lines += [
        "",
        "## Renamed settings",
        "",
        "Former names are refused, with the new name in the message.",
        "",
    ]
    lines += ["| Former name | Change |", "| --- | --- |"]
    lines += [f"| `{old}` | {renaming(old)} |" for old in {**RENAMED, **RENAMED_VALUES}]
    return "\n".join(lines) + "\n"


def _sections(
    node: Mapping[str, Any], definitions: Mapping[str, Any], path: str
) -> Iterator[SettingsSection]:
    settings: list[Setting] = []
    nested: list[tuple[Mapping[str, Any], str]] = []
    for name, field in node["properties"].items():
        below = f"{path}.{name}" if path else name
        if "$ref" in field:
            nested.append((_resolve(field, definitions), below))
            continue
        settings.append(_setting(below, field, definitions, required=name in node.get("required", ())))
        for part, key in _nested_parts(field):
            nested.append((_resolve(part, definitions), below + key))
    if settings or not path:
        yield SettingsSection(path, node["description"], tuple(settings))
    for section, below in nested:
        yield from _sections(section, definitions, below)


def _nested_parts(field: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the references to sections in a field, with what they add to its path."""
    for part in field.get("anyOf", ()):
        if "$ref" in part:
            yield part, ""
    for part, key in ((_map_values(field), ".<name>"), (field.get("items", {}), ".<n>")):
        if "$ref" in part:
            yield part, key


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    resolved: Mapping[str, Any] = definitions[node["$ref"].rpartition("/")[2]]
    return resolved


def _setting(
    path: str, field: Mapping[str, Any], definitions: Mapping[str, Any], *, required: bool
) -> Setting:
    default = field.get("default")
    sections = [_resolve(part, definitions) for part, _ in _nested_parts(field)]
    if isinstance(default, dict) and sections:
        # The fields of the section have their own defaults.
        default = {} if "anyOf" in field else {key: {} for key in default}
    return Setting(
        path=path,
        type=_type(field),
        default=None if required else _flow(default),
        range=", ".join(_ranges(field)),
        unit=field.get("unit", ""),
        description=field.get("description") or sections[0]["description"],
    )


def _flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    return yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=float("inf"))[1:-2]


def _type(node: Mapping[str, Any]) -> str:
    if "$ref" in node:
        return "section"
    if "anyOf" in node:
        return " or ".join(_type(part) for part in node["anyOf"])
    if node["type"] == "array":
        return f"list of {_type(node.get('items') or node['prefixItems'][0])}"
    if node["type"] == "object":
        values = _map_values(node)
        return f"map of {_type(values)}" if values else "map"
    return "path" if node.get("format") == "path" else str(node["type"])


def _map_values(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values that a map may hold; empty for those of any kind, and for other nodes."""
    (values,) = node.get("patternProperties", {"": node.get("additionalProperties")}).values()
    return values if isinstance(values, dict) else {}


def _ranges(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield what values are allowed, in the order of the alternatives."""
    yield from (_flow(value) for value in node.get("enum", ()))
    if "const" in node:
        yield _flow(node["const"])
    if "minimum" in node and "maximum" in node:
        yield f"{node['minimum']:g} to {node['maximum']:g}"
    else:
        symbols = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
        yield from (f"{symbol} {node[name]}" for name, symbol in symbols.items() if name in node)
    if "pattern" in node:
        yield f"matches `{node['pattern']}`"
    for name in ("minLength", "minItems", "minProperties"):
        if name in node and node.get("maxItems") != node[name]:
            noun = "character" if name == "minLength" else "entry" if node[name] == 1 else "entries"
            yield f"at least {node[name]} {noun}"
    if "maxItems" in node:
        yield f"{node['maxItems']} entries"
    if "enum" in node.get("propertyNames", {}):
        yield f"keys {', '.join(node['propertyNames']['enum'])}"
    for pattern in node.get("patternProperties", ()):
        yield f"keys match `{pattern}`"
    parts = [*node.get("anyOf", ()), *node.get("prefixItems", ())[:1]]
    if "items" in node:
        parts.append(node["items"])
    if node.get("type") == "object":
        parts.append(_map_values(node))
    for part in parts:
        yield from ["true", "false"] if part.get("type") == "boolean" else _ranges(part)


def _section_text(section: SettingsSection) -> str:
    heading = [f"{section.path}: {section.description}"] if section.path else []
    return "\n\n".join([*heading, *(_setting_text(setting) for setting in section.settings)])


def _setting_text(setting: Setting) -> str:
    facts = {
        "type": setting.type,
        "default": "required" if setting.default is None else setting.default,
        "range": setting.range,
        "unit": setting.unit,
    }
    known = "; ".join(f"{name}: {fact}" for name, fact in facts.items() if fact)
    return f"{setting.path}\n    {setting.description}\n    {known}"


def _matches(path: str, given: str) -> bool:
    """Return whether two paths are equal, where a placeholder matches any key or index."""
    parts, others = path.split("."), given.split(".")
    return len(parts) == len(others) and all(
        part == other or part.startswith("<") for part, other in zip(parts, others, strict=True)
    )


def _is_within(path: str, given: str) -> bool:
    """Return whether a path is the given one or below it."""
    return _matches(".".join(path.split(".")[: given.count(".") + 1]), given)


def _unknown(path: str) -> str:
    if renamed := renaming(path):
        return f"{path}: {renamed}"
    sections = settings_sections()
    paths = {section.path for section in sections}
    paths |= {setting.path for section in sections for setting in section.settings}

    def likeness(other: str) -> float:
        names = path.rpartition(".")[2], other.rpartition(".")[2]
        return max(
            difflib.SequenceMatcher(None, path, other).ratio(),
            difflib.SequenceMatcher(None, *names).ratio(),
        )

    ranked = sorted(paths, key=lambda other: (-likeness(other), other.count("."), other))
    near = [other for other in ranked[:3] if likeness(other) > 0.6]
    hint = f"did you mean {' or '.join(near)}?" if near else "`knet config explain` lists all settings"
    return f"{path}: no such setting; {hint}"


_WIDTH = 110


def dump_config(config: Config, *, comments: bool = False) -> str:
    """Return the configuration as YAML that `load_config` reads back to an equal one.

    Args:
        config: the configuration.
        comments: put the description, range and unit of each field above it.
    """
    tree = config.model_dump(mode="json")
    return "".join(_section(tree, _comments(), "", "")).lstrip() if comments else _yaml(tree)


def _yaml(tree: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    return text


def _comments() -> dict[str, str]:
    """Return the comment of each field and section by path."""
    comments = {}
    for section in settings_sections():
        comments[section.path] = section.description
        for setting in section.settings:
            limits = "; ".join(text for text in (setting.range, setting.unit) if text)
            comments[setting.path] = setting.description + (f" [{limits}]" if limits else "")
    return comments


def _section(tree: Mapping[str, Any], comments: Mapping[str, str], above: str, indent: str) -> Iterator[str]:
    """Yield the lines of a section, whose path with a dot behind it is `above`."""
    for name, value in tree.items():
        path, deeper = above + name, indent + "  "
        prefix = f"{indent}# "
        lines = textwrap.wrap(
            comments[path], _WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False
        )
        yield "".join(f"{line}\n" for line in ([] if indent else [""]) + lines)
        is_map = f"{path}.<name>" in comments
        is_section = any(other.startswith(f"{path}.") for other in comments)
        if value and is_map:
            yield textwrap.indent(_heading(name), indent)
            (first, section), *others = value.items()
            yield textwrap.indent(_heading(first), deeper)
            # The sections of a map have the same fields: comments stand in the first.
            yield from _section(section, comments, f"{path}.<name>.", deeper + "  ")
            yield textwrap.indent("".join(_yaml({key: other}) for key, other in others), deeper)
        elif isinstance(value, dict) and is_section and not is_map:
            yield textwrap.indent(_heading(name), indent)
            yield from _section(value, comments, f"{path}.", deeper)
        else:
            yield textwrap.indent(_yaml({name: value}), indent)


def _heading(name: str) -> str:
    """Return a key of a map, quoted if YAML needs it, without its value."""
    return _yaml({name: {}}).replace(" {}\n", "\n")
