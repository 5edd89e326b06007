"""Proposed schemas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0.schema_pb2 import Schema

import schemas
from pipeline.schema.diff import differences
from pipeline.schema.propose import infer, relax
from pipeline.schema.text import read_schema

Make = Callable[..., Any]


@pytest.fixture
def curated() -> Schema:
    """The bundled schema, but of three features."""
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


def test_good_data_need_no_change(curated: Schema, statistics_of: Make) -> None:
    assert differences(curated, relax(curated, [statistics_of(), statistics_of()])) == []


def test_what_any_split_needs_is_loosened_and_then_no_split_has_anomalies(
    curated: Schema, statistics_of: Make
) -> None:
    splits = [
        statistics_of(),
        statistics_of(magnification=["20X"] * 4),
        statistics_of(**{"image/width": [8000] * 4}),
    ]
    relaxed = relax(curated, splits)
    lines = differences(curated, relaxed)
    assert "  value: + 20X" in lines
    assert any(line.startswith("  int_domain.max: 4096 -> ") for line in lines)
    assert [dict(tfdv.validate_statistics(s, relaxed).anomaly_info) for s in splits] == [{}, {}, {}]
    assert tfdv.validate_statistics(splits[1], curated).anomaly_info


def test_the_curated_schema_is_left_as_it_is(curated: Schema, statistics_of: Make) -> None:
    before = Schema()
    before.CopyFrom(curated)
    relax(curated, [statistics_of(magnification=["20X"] * 4)])
    assert curated == before


def test_an_inferred_schema_fits_every_split(statistics_of: Make) -> None:
    splits = [statistics_of(), statistics_of(magnification=["20X"] * 4)]
    inferred = infer(splits)
    assert {feature.name for feature in inferred.feature} == {"label", "image/width", "magnification"}
    assert [dict(tfdv.validate_statistics(s, inferred).anomaly_info) for s in splits] == [{}, {}]


def test_an_inferred_schema_knows_images_and_classes_as_such(statistics_of: Make) -> None:
    inferred = {
        feature.name: feature for feature in infer([statistics_of(**{"image/encoded": [b"P"] * 4})]).feature
    }
    assert inferred["image/encoded"].HasField("image_domain")
    assert inferred["label"].int_domain.is_categorical
