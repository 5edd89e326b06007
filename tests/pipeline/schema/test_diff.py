"""Differences between schemas."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import schemas
from pipeline import features
from pipeline.schema.diff import differences
from pipeline.schema.text import read_schema

Edit = Callable[..., object]


def test_equal_schemas_do_not_differ() -> None:
    schema = read_schema(schemas.BREAKHIS)
    assert differences(schema, schema) == []


@pytest.mark.parametrize(
    ("edit", "lines"),
    [
        (
            lambda feature, domain, schema: setattr(feature["image/width"].int_domain, "max", 8192),
            ["feature image/width", "  int_domain.max: 4096 -> 8192"],
        ),
        (
            lambda feature, domain, schema: setattr(feature["image/width"].presence, "min_fraction", 0.5),
            ["feature image/width", "  presence.min_fraction: 1 -> 0.5"],
        ),
        (
            lambda feature, domain, schema: feature["image/width"].ClearField("type"),
            ["feature image/width", "  type: - INT"],
        ),
        (
            lambda feature, domain, schema: feature["image/encoded"].ClearField("image_domain"),
            ["feature image/encoded", "  image_domain: -"],
        ),
        (
            lambda feature, domain, schema: domain["magnification"].value.extend(["20X", "10X"]),
            ["domain magnification", "  value: + 10X", "  value: + 20X"],
        ),
        (
            lambda feature, domain, schema: schema.feature.add(name="stain"),
            ["feature stain (new)", "  name: + stain"],
        ),
        (
            lambda feature, domain, schema: schema.string_domain.remove(domain["split"]),
            ["domain split (gone)", "  name: - split", *(f"  value: - {s}" for s in sorted(features.SPLITS))],
        ),
        (
            lambda feature, domain, schema: schema.default_environment.append("AUDIT"),
            ["schema", "  default_environment: + AUDIT"],
        ),
    ],
)  # fmt: skip
def test_a_change_is_told_where_it_is(edit: Edit, lines: list[str]) -> None:
    before, after = read_schema(schemas.BREAKHIS), read_schema(schemas.BREAKHIS)
    edit({f.name: f for f in after.feature}, {d.name: d for d in after.string_domain}, after)
    assert differences(before, after) == lines
