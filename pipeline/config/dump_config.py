"""Writes configurations as YAML, with comments from the descriptions of the settings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from pipeline.config.config import Config
from pipeline.config.explain import settings_sections

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
