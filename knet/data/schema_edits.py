"""Reads a schema's text, and writes a changed one back with its comments."""

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

# What may stand at the top level: a comment, a text in quotes, a bracket, or anything else.
_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[][{}<>]|[^][{}<>#"']+""")
_DEPTH = {"{": 1, "<": 1, "[": 1, "}": -1, ">": -1, "]": -1}


def read_schema(path: Path) -> schema_pb2.Schema:
    """The schema in a text file.

    Raises:
        UserError: there is no such file, or it holds something else, or a feature twice; the text says where.
    """
    try:
        schema = text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    except OSError as error:
        raise UserError(f"cannot read the schema {path}: {error.strerror}") from None
    except (UnicodeDecodeError, text_format.ParseError) as error:
        raise UserError(f"{path} is not a schema in protobuf's text format: {error}") from None
    except RecursionError:
        raise UserError(f"{path} is no schema: its fields are nested too deeply") from None
    counts = Counter(key for key, _ in _entries(schema))
    twice = [key.strip() for key, count in counts.items() if count > 1]
    if twice:
        raise UserError(f"{path} holds {', '.join(twice)} more than once; leave one of each")
    return schema


def rewrite(text: str, schema: schema_pb2.Schema) -> str:
    """The text of a changed schema: features and domains that stay are left as they were written.

    Comments before a changed one stay too; those inside it are lost.

    Args:
        text: of the schema before.
        schema: after.

    Raises:
        UserError: an entry goes on in a line that looks like the next one.
    """
    waiting = dict(_entries(schema))
    pieces = []
    for lead, entry in _blocks(text):
        try:
            keys = [key for key, _ in _entries(text_format.Parse(entry, schema_pb2.Schema()))]
        except text_format.ParseError as error:
            raise UserError(
                f"the schema cannot be changed as it is written ({error}): begin each entry on its own line"
            ) from None
        after = "".join(waiting.pop(key) for key in keys if key in waiting)
        if not keys:  # what stands after the last entry
            pieces.append(lead + entry)
        elif after:
            pieces.append(lead + (entry if _same(entry, after) else after))
    written = "".join(pieces).rstrip("\n") + "\n" + "".join(waiting.values())
    if text_format.Parse(written, schema_pb2.Schema()) != schema:
        raise AssertionError("the schema was not written as it is")
    return written


def render(schema: schema_pb2.Schema) -> str:
    """The text of a schema, a line a field."""
    return rewrite("", schema).lstrip("\n")


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Whole lines with top-level entries, as few as can be, each with the comments and empty lines before."""
    lead, entry, depth = "", "", 0
    for line in text.splitlines(keepends=True):
        bare = "".join(token for token in _TOKEN.findall(line) if not token.startswith("#"))
        if depth == 0 and not bare.strip():
            lead += line
            continue
        entry += line
        for token in _TOKEN.findall(line):
            depth += _DEPTH.get(token, 0)
        if depth == 0 and _is_whole(entry):
            yield lead, entry
            lead, entry = "", ""
    yield lead, entry


def _is_whole(entry: str) -> bool:
    """Whether an entry does not go on in the next line."""
    try:
        text_format.Parse(entry, schema_pb2.Schema())
    except text_format.ParseError:
        return False
    return True


def _entries(schema: schema_pb2.Schema) -> Iterator[tuple[str, str]]:
    """A key for each top-level entry, and its text with a line a field."""
    for name, item, alone in _singles(schema):
        if isinstance(item, message.Message):
            fields = "".join(f"  {_line(field)}" for _, _, field in _singles(item))
            yield f"{name} {getattr(item, 'name', '')}", f"{name} {{\n{fields}}}\n"
        else:
            yield _line(alone), _line(alone)


def _singles(part: message.Message) -> Iterator[tuple[str, Any, message.Message]]:
    """For each value that is set: its field's name, itself, and a message that holds it alone."""
    for field, value in part.ListFields():
        for item in items(value):
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


def _same(entry: str, other: str) -> bool:
    return bool(
        text_format.Parse(entry, schema_pb2.Schema()) == text_format.Parse(other, schema_pb2.Schema())
    )


_Facts = set[tuple[str, str]]  # path of a field and the text of its value; a repeated field has several


def differences(before: schema_pb2.Schema, after: schema_pb2.Schema) -> list[str]:
    """A heading for each feature or domain that differs, and below it a line a field.

    `a -> b` is a changed value, `+ b` an added and `- a` a removed one. Equal schemas give no lines.
    """
    old, new = _parts(before), _parts(after)
    lines = []
    for name in {**old, **new}:
        changes = _changes(old.get(name, set()), new.get(name, set()))
        if changes:
            mark = " (new)" if name not in old else " (gone)" if name not in new else ""
            lines += [f"{name}{mark}", *(f"  {change}" for change in changes)]
    return lines


def _parts(schema: schema_pb2.Schema) -> dict[str, _Facts]:
    parts = {f"feature {feature.name}": set(_facts(feature)) for feature in schema.feature}
    parts |= {f"domain {domain.name}": set(_facts(domain)) for domain in schema.string_domain}
    rest = schema_pb2.Schema()
    rest.CopyFrom(schema)
    rest.ClearField("feature")
    rest.ClearField("string_domain")
    return {**parts, "schema": set(_facts(rest))}


def _facts(part: message.Message, path: str = "") -> Iterator[tuple[str, str]]:
    for field, value in part.ListFields():
        for item in items(value):
            if isinstance(item, message.Message):
                yield path + field.name, ""  # such as `image_domain {}`, which says something while empty
                yield from _facts(item, f"{path}{field.name}.")
            else:
                yield path + field.name, _text(item, field.enum_type)


def _text(value: Any, enum: Any) -> str:
    if enum is not None:
        return str(enum.values_by_number[value].name)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _changes(old: _Facts, new: _Facts) -> list[str]:
    lines = []
    for path in sorted({path for path, _ in old ^ new}):
        gone = sorted(text for of, text in old - new if of == path)
        come = sorted(text for of, text in new - old if of == path)
        if len(gone) == len(come) == 1:
            lines.append(f"{path}: {gone[0]} -> {come[0]}")
        else:
            lines += [f"{path}: - {text}".rstrip() for text in gone]
            lines += [f"{path}: + {text}".rstrip() for text in come]
    return lines


def items(value: Any) -> Sequence[Any]:
    """What `ListFields` gives as a field's value, as a sequence."""
    return value if hasattr(value, "append") else [value]


def infer(statistics: Iterable[statistics_pb2.DatasetFeatureStatisticsList]) -> schema_pb2.Schema:
    """A schema that knows the data alone: a start for a set of images that has none.

    Args:
        statistics: of each split.
    """
    import tensorflow_data_validation as tfdv

    first, *others = statistics
    schema = relax(tfdv.infer_schema(first), others)
    for feature in schema.feature:  # what numbers and bytes do not tell, and StatisticsGen and DataGate need
        if feature.name == schema_names.IMAGE:
            feature.image_domain.SetInParent()
        if feature.name == schema_names.LABEL:
            feature.int_domain.is_categorical = True
    return schema


def relax(
    schema: schema_pb2.Schema, statistics: Iterable[statistics_pb2.DatasetFeatureStatisticsList]
) -> schema_pb2.Schema:
    """The schema, loosened as far as the data need to pass; what they do not contradict stays.

    Args:
        schema: is left as it is.
        statistics: of each split.
    """
    import tensorflow_data_validation as tfdv

    for of_split in statistics:
        schema = tfdv.update_schema(schema, of_split)
    return schema
