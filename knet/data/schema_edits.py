"""Schemas in text format: read, infer, relax, compare, and rewrite with their comments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import message, text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from knet.base import schema_names
from knet.base.errors import UserError

# Tokens at the top level: a comment, a quoted text, a bracket, or anything else.
_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[][{}<>]|[^][{}<>#"']+""")
_DEPTH = {"{": 1, "<": 1, "[": 1, "}": -1, ">": -1, "]": -1}


def read_schema(path: Path) -> schema_pb2.Schema:
    """Read a schema from a text file.

    Raises:
        UserError: The file is missing, is no schema, or has a feature twice; the message states the place.
    """
    try:
        schema = text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    except OSError as error:
        raise UserError(f"cannot read the schema {path}: {error.strerror}") from None
    except (UnicodeDecodeError, text_format.ParseError) as error:
        raise UserError(f"{path} is not a schema in protobuf's text format: {error}") from None
    except RecursionError:
        raise UserError(f"{path} is not a schema: its fields are nested too deeply") from None
    counts = Counter(key for key, _ in _entries(schema))
    twice = [key.strip() for key, count in counts.items() if count > 1]
    if twice:
        raise UserError(f"{path} holds {', '.join(twice)} more than once; leave one of each")
    return schema


def rewrite_schema(text: str, schema: schema_pb2.Schema) -> str:
    """Write a changed schema, with unchanged entries as they were.

    Comments before a changed feature or domain are preserved; those inside it are lost.

    Args:
        text: Text of the schema before the change.
        schema: Schema after the change.

    Returns:
        Text of the changed schema.

    Raises:
        UserError: An entry continues in a line that looks like the next entry.
    """
    remaining = dict(_entries(schema))
    pieces = []
    for lead, entry in _blocks(text):
        try:
            keys = [key for key, _ in _entries(text_format.Parse(entry, schema_pb2.Schema()))]
        except text_format.ParseError as error:
            raise UserError(
                f"the schema cannot be changed as it is written ({error}): start each entry on its own line"
            ) from None
        after = "".join(remaining.pop(key) for key in keys if key in remaining)
        if not keys:  # text after the last entry
            pieces.append(lead + entry)
        elif after:
            pieces.append(lead + (entry if _equal(entry, after) else after))
    written = "".join(pieces).rstrip("\n") + "\n" + "".join(remaining.values())
    if text_format.Parse(written, schema_pb2.Schema()) != schema:
        raise AssertionError("the rewritten text is another schema")
    return written


def render_schema(schema: schema_pb2.Schema) -> str:
    """Write a schema as text, with a line for each field."""
    return rewrite_schema("", schema).lstrip("\n")


def infer_schema(statistics: Iterable[statistics_pb2.DatasetFeatureStatisticsList]) -> schema_pb2.Schema:
    """Infer a first schema from data.

    Args:
        statistics: Statistics of each split.
    """
    import tensorflow_data_validation as tfdv

    first, *others = statistics
    schema = relax_schema(tfdv.infer_schema(first), others)
    for feature in schema.feature:  # StatisticsGen and DataGate need this, which values do not show
        if feature.name == schema_names.IMAGE:
            feature.image_domain.SetInParent()
        if feature.name == schema_names.LABEL:
            feature.int_domain.is_categorical = True
    return schema


def relax_schema(
    schema: schema_pb2.Schema, statistics: Iterable[statistics_pb2.DatasetFeatureStatisticsList]
) -> schema_pb2.Schema:
    """Relax a schema just enough for the data to pass.

    Args:
        schema: Schema, which is not changed.
        statistics: Statistics of each split.

    Returns:
        The relaxed schema.
    """
    import tensorflow_data_validation as tfdv

    for split_statistics in statistics:
        schema = tfdv.update_schema(schema, split_statistics)
    return schema


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the shortest runs of lines that are whole entries, each with the comments before it."""
    lead, entry, depth = "", "", 0
    for line in text.splitlines(keepends=True):
        bare = "".join(token for token in _TOKEN.findall(line) if not token.startswith("#"))
        if depth == 0 and not bare.strip():
            lead += line
            continue
        entry += line
        for token in _TOKEN.findall(line):
            depth += _DEPTH.get(token, 0)
        if depth == 0 and _is_complete(entry):
            yield lead, entry
            lead, entry = "", ""
    yield lead, entry


def _is_complete(entry: str) -> bool:
    """Tell whether an entry ends here, and does not continue in the next line."""
    try:
        text_format.Parse(entry, schema_pb2.Schema())
    except text_format.ParseError:
        return False
    return True


def _entries(schema: schema_pb2.Schema) -> Iterator[tuple[str, str]]:
    """Yield a key for each top-level entry, and its text with a line for each field."""
    for name, item, alone in _singles(schema):
        if isinstance(item, message.Message):
            fields = "".join(f"  {_line(field)}" for _, _, field in _singles(item))
            yield f"{name} {getattr(item, 'name', '')}", f"{name} {{\n{fields}}}\n"
        else:
            yield _line(alone), _line(alone)


def _singles(part: message.Message) -> Iterator[tuple[str, Any, message.Message]]:
    """Yield for each set value: the name of its field, the value, and a message that holds it alone."""
    for field, value in part.ListFields():
        for item in _items(value):
            alone = type(part)()
            if item is not value:
                getattr(alone, field.name).append(item)
            else:
                alone.CopyFrom(part)
                for other, _ in part.ListFields():
                    if other.name != field.name:
                        alone.ClearField(other.name)
            yield field.name, item, alone


def _line(alone: message.Message) -> str:
    return text_format.MessageToString(alone, as_one_line=True).strip() + "\n"


def _equal(entry: str, other: str) -> bool:
    return bool(
        text_format.Parse(entry, schema_pb2.Schema()) == text_format.Parse(other, schema_pb2.Schema())
    )


_Fields = set[tuple[str, str]]  # path of a field and text of its value; a repeated field has several


def schema_differences(before: schema_pb2.Schema, after: schema_pb2.Schema) -> list[str]:
    """List the differences of two schemas.

    Returns:
        A heading for each feature or domain that differs, and below it a line for each field: `a -> b` is a
        changed value, `+ b` an added and `- a` a removed one. Empty for equal schemas.
    """
    old, new = _parts(before), _parts(after)
    lines = []
    for name in {**old, **new}:
        changes = _changes(old.get(name, set()), new.get(name, set()))
        if changes:
            mark = " (new)" if name not in old else " (gone)" if name not in new else ""
            lines += [f"{name}{mark}", *(f"  {change}" for change in changes)]
    return lines


def _parts(schema: schema_pb2.Schema) -> dict[str, _Fields]:
    parts = {f"feature {feature.name}": set(_fields(feature)) for feature in schema.feature}
    parts |= {f"domain {domain.name}": set(_fields(domain)) for domain in schema.string_domain}
    rest = schema_pb2.Schema()
    rest.CopyFrom(schema)
    rest.ClearField("feature")
    rest.ClearField("string_domain")
    return {**parts, "schema": set(_fields(rest))}


def _fields(part: message.Message, path: str = "") -> Iterator[tuple[str, str]]:
    for field, value in part.ListFields():
        for item in _items(value):
            if isinstance(item, message.Message):
                yield path + field.name, ""  # such as `image_domain {}`, which has a meaning even if empty
                yield from _fields(item, f"{path}{field.name}.")
            else:
                yield path + field.name, _text(item, field.enum_type)


def _text(value: Any, enum: Any) -> str:
    if enum is not None:
        return str(enum.values_by_number[value].name)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _changes(old: _Fields, new: _Fields) -> list[str]:
    lines = []
    for path in sorted({path for path, _ in old ^ new}):
        removed = sorted(text for field, text in old - new if field == path)
        added = sorted(text for field, text in new - old if field == path)
        if len(removed) == len(added) == 1:
            lines.append(f"{path}: {removed[0]} -> {added[0]}")
        else:
            lines += [f"{path}: - {text}".rstrip() for text in removed]
            lines += [f"{path}: + {text}".rstrip() for text in added]
    return lines


def _items(value: Any) -> Sequence[Any]:
    """Return a value of `ListFields` as a sequence, whether the field is repeated or not."""
    return value if hasattr(value, "append") else [value]
