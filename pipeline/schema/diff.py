"""The differences between two schemas, as lines to read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import message
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.schema.items import items

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
