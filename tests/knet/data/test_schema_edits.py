"""Schemas in text format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0.schema_pb2 import FLOAT, Schema

import schemas
from knet.base import schema_names
from knet.base.errors import UserError
from knet.data.schema_edits import (
    infer_schema,
    read_schema,
    relax_schema,
    render_schema,
    rewrite_schema,
    schema_differences,
)

TEXT = """# What it is.

default_environment: "TRAINING" # where models are trained

# The width.
feature {
  name: "width"  # in pixels: {not metres}
  type: INT
  int_domain { min: 32 max: 4096 }
}
# Kinds of "it's", and so on.
string_domain {
  name: "kind"
  value: "a # is no comment"
  value: "}"
}
# The end.
"""

_SPLITS = sorted(schema_names.SPLITS)


def parsed(text: str) -> Schema:
    return text_format.Parse(text, Schema())


@pytest.mark.parametrize("text", [TEXT, schemas.BREAKHIS.read_text("utf-8")], ids=["small", "breakhis"])
def test_rewrite_schema_of_an_unchanged_schema_keeps_its_text(text: str) -> None:
    assert rewrite_schema(text, parsed(text)) == text


def test_rewrite_schema_changes_one_feature_only() -> None:
    schema = parsed(TEXT)
    schema.feature[0].int_domain.max = 8192
    written = rewrite_schema(TEXT, schema)
    assert parsed(written) == schema
    assert "# The width.\nfeature {\n" in written and "  int_domain { min: 32 max: 8192 }\n" in written
    assert "in pixels" not in written
    assert written.endswith(TEXT[TEXT.index("# Kinds") :])


def test_rewrite_schema_adds_last_and_removes_with_comments() -> None:
    schema = parsed(TEXT)
    del schema.feature[:]
    schema.feature.add(name="blur", type=FLOAT).presence.min_fraction = 1
    written = rewrite_schema(TEXT, schema)
    assert parsed(written) == schema
    assert "The width" not in written
    assert written.endswith('feature {\n  name: "blur"\n  type: FLOAT\n  presence { min_fraction: 1.0 }\n}\n')


@pytest.mark.parametrize(
    "text",
    [
        'feature { name: "a" type: INT } feature { name: "b" type: INT }\n',
        'feature <\n  name: "a" type: INT\n> feature: { name: "b" type: INT };\n',
        'feature: [\n  {name: "a" type: INT}, {name: "b" type: INT}\n]\n',
        'feature\n{ name: "a" type: INT\n}\nfeature { # first\n name:\n"b" type: INT }\n',
        'tensor_representation_group { key: "" value {} }\nfeature < name: "a" type: INT >\n',
    ],
)
def test_rewrite_schema_accepts_any_valid_text(text: str) -> None:
    assert rewrite_schema(text, parsed(text)) == text
    schema = parsed(text)
    schema.feature[0].type = FLOAT
    schema.feature.add(name="c", type=FLOAT)
    assert parsed(rewrite_schema(text, schema)) == schema
    del schema.feature[0]
    assert parsed(rewrite_schema(text, schema)) == schema


def test_rewrite_schema_of_an_ambiguous_entry_is_refused() -> None:
    text = 'default_environment: "x"\n"y"\n'
    with pytest.raises(UserError, match="start each entry on its own line"):
        rewrite_schema(text, parsed(text))


def test_read_schema_with_a_feature_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pbtxt").write_text('feature { name: "a" }\nfeature { name: "a" }\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"x\.pbtxt holds feature a more than once; leave one of each"):
        read_schema(tmp_path / "x.pbtxt")


def test_read_schema_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pbtxt").write_text("feature{struct_domain{" * 2000 + "}}" * 2000, encoding="utf-8")
    with pytest.raises(UserError, match=r"x\.pbtxt is no"):
        read_schema(tmp_path / "x.pbtxt")


def test_render_schema_writes_a_line_for_each_value() -> None:
    schema = parsed(TEXT)
    schema.string_domain[0].value.append("b")
    assert '  value: "}"\n  value: "b"\n}\n# The end.\n' in rewrite_schema(TEXT, schema)


def test_render_schema_can_be_read_back(tmp_path: Path) -> None:
    schema = read_schema(schemas.BREAKHIS)
    (tmp_path / "schema.pbtxt").write_text(render_schema(schema), encoding="utf-8")
    assert read_schema(tmp_path / "schema.pbtxt") == schema


def test_read_schema_of_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the schema .*none\.pbtxt: No such file"):
        read_schema(tmp_path / "none.pbtxt")


@pytest.mark.parametrize("content", [b"feature { nome: 3 }", b"\xff\xfe"])
def test_read_schema_of_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pbtxt").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.pbtxt is not a schema in protobuf's text format"):
        read_schema(tmp_path / "x.pbtxt")


Edit = Callable[..., object]


def test_schema_differences_of_equal_schemas_are_none() -> None:
    schema = read_schema(schemas.BREAKHIS)
    assert schema_differences(schema, schema) == []


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
            ["domain split (gone)", "  name: - split", *(f"  value: - {s}" for s in _SPLITS)],
        ),
        (
            lambda feature, domain, schema: schema.default_environment.append("AUDIT"),
            ["schema", "  default_environment: + AUDIT"],
        ),
    ],
)  # fmt: skip
def test_schema_differences_name_the_field(edit: Edit, lines: list[str]) -> None:
    before, after = read_schema(schemas.BREAKHIS), read_schema(schemas.BREAKHIS)
    edit({f.name: f for f in after.feature}, {d.name: d for d in after.string_domain}, after)
    assert schema_differences(before, after) == lines


Make = Callable[..., Any]


@pytest.fixture
def curated() -> Schema:
    """Three features of the bundled schema."""
    schema = read_schema(schemas.BREAKHIS)
    kept = [
        feature for feature in schema.feature if feature.name in ("label", "image/width", "magnification")
    ]
    del schema.feature[:]
    schema.feature.extend(kept)
    return schema


@pytest.fixture
def statistics_of(curated: Schema) -> Make:
    """Statistics of four images, with some columns changed."""

    def make(**columns: Any) -> Any:
        good = {"label": [0, 1, 0, 1], "image/width": [700] * 4, "magnification": ["40X", "100X"] * 2}
        return tfdv.generate_statistics_from_dataframe(
            pd.DataFrame({**good, **columns}), tfdv.StatsOptions(schema=curated)
        )

    return make


def test_relax_schema_for_valid_data_changes_nothing(curated: Schema, statistics_of: Make) -> None:
    assert schema_differences(curated, relax_schema(curated, [statistics_of(), statistics_of()])) == []


def test_relax_schema_leaves_no_split_with_anomalies(curated: Schema, statistics_of: Make) -> None:
    splits = [
        statistics_of(),
        statistics_of(magnification=["20X"] * 4),
        statistics_of(**{"image/width": [8000] * 4}),
    ]
    relaxed = relax_schema(curated, splits)
    lines = schema_differences(curated, relaxed)
    assert "  value: + 20X" in lines
    assert any(line.startswith("  int_domain.max: 4096 -> ") for line in lines)
    assert [dict(tfdv.validate_statistics(s, relaxed).anomaly_info) for s in splits] == [{}, {}, {}]
    assert tfdv.validate_statistics(splits[1], curated).anomaly_info


def test_relax_schema_does_not_change_its_argument(curated: Schema, statistics_of: Make) -> None:
    before = Schema()
    before.CopyFrom(curated)
    relax_schema(curated, [statistics_of(magnification=["20X"] * 4)])
    assert curated == before


def test_infer_schema_fits_every_split(statistics_of: Make) -> None:
    splits = [statistics_of(), statistics_of(magnification=["20X"] * 4)]
    inferred = infer_schema(splits)
    assert {feature.name for feature in inferred.feature} == {"label", "image/width", "magnification"}
    assert [dict(tfdv.validate_statistics(s, inferred).anomaly_info) for s in splits] == [{}, {}]


def test_infer_schema_marks_images_and_labels(statistics_of: Make) -> None:
    inferred = {
        feature.name: feature
        for feature in infer_schema([statistics_of(**{"image/encoded": [b"P"] * 4})]).feature
    }
    assert inferred["image/encoded"].HasField("image_domain")
    assert inferred["label"].int_domain.is_categorical
