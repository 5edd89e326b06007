"""Schemas as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0.schema_pb2 import FLOAT, Schema

import schemas
from pipeline.errors import UserError
from pipeline.schema.text import read_schema, render, rewrite

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


def parsed(text: str) -> Schema:
    return text_format.Parse(text, Schema())


@pytest.mark.parametrize("text", [TEXT, schemas.BREAKHIS.read_text("utf-8")], ids=["small", "breakhis"])
def test_a_schema_that_did_not_change_keeps_its_text(text: str) -> None:
    assert rewrite(text, parsed(text)) == text


def test_a_changed_feature_is_written_anew_and_all_else_stays() -> None:
    schema = parsed(TEXT)
    schema.feature[0].int_domain.max = 8192
    written = rewrite(TEXT, schema)
    assert parsed(written) == schema
    assert "# The width.\nfeature {\n" in written and "  int_domain { min: 32 max: 8192 }\n" in written
    assert "in pixels" not in written
    assert written.endswith(TEXT[TEXT.index("# Kinds") :])


def test_a_new_feature_comes_last_and_one_that_is_gone_takes_its_comment_along() -> None:
    schema = parsed(TEXT)
    del schema.feature[:]
    schema.feature.add(name="blur", type=FLOAT).presence.min_fraction = 1
    written = rewrite(TEXT, schema)
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
def test_any_valid_form_can_be_changed(text: str) -> None:
    assert rewrite(text, parsed(text)) == text
    schema = parsed(text)
    schema.feature[0].type = FLOAT
    schema.feature.add(name="c", type=FLOAT)
    assert parsed(rewrite(text, schema)) == schema
    del schema.feature[0]
    assert parsed(rewrite(text, schema)) == schema


def test_an_entry_that_cannot_be_told_from_the_next_is_refused() -> None:
    text = 'default_environment: "x"\n"y"\n'
    with pytest.raises(UserError, match="begin each entry on its own line"):
        rewrite(text, parsed(text))


def test_a_feature_that_stands_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pbtxt").write_text('feature { name: "a" }\nfeature { name: "a" }\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"x\.pbtxt holds feature a more than once; leave one of each"):
        read_schema(tmp_path / "x.pbtxt")


def test_fields_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pbtxt").write_text("feature{struct_domain{" * 2000 + "}}" * 2000, encoding="utf-8")
    with pytest.raises(UserError, match=r"x\.pbtxt is no"):
        read_schema(tmp_path / "x.pbtxt")


def test_values_of_a_domain_are_written_a_line_each() -> None:
    schema = parsed(TEXT)
    schema.string_domain[0].value.append("b")
    assert '  value: "}"\n  value: "b"\n}\n# The end.\n' in rewrite(TEXT, schema)


def test_a_rendered_schema_reads_back(tmp_path: Path) -> None:
    schema = read_schema(schemas.BREAKHIS)
    (tmp_path / "schema.pbtxt").write_text(render(schema), encoding="utf-8")
    assert read_schema(tmp_path / "schema.pbtxt") == schema


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the schema .*none\.pbtxt: No such file"):
        read_schema(tmp_path / "none.pbtxt")


@pytest.mark.parametrize("content", [b"feature { nome: 3 }", b"\xff\xfe"])
def test_another_kind_of_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pbtxt").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.pbtxt is not a schema in protobuf's text format"):
        read_schema(tmp_path / "x.pbtxt")
