"""The bundled schemas."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0.schema_pb2 import Schema

import schemas
from knet.base import schema_names

TEXTS = {
    "breakhis": schemas.BREAKHIS.read_text("utf-8"),
    "images": schemas.manifest_schema(["site", "stain"], classes=("a", "b")),
}
SERVED = {schema_names.IMAGE, schema_names.WIDTH, schema_names.HEIGHT, *schema_names.IMAGE_SCALARS}


@pytest.fixture(params=TEXTS)
def schema(request: pytest.FixtureRequest) -> Schema:
    return text_format.Parse(TEXTS[request.param], Schema())


def statistics_of(schema: Schema, *, scalar: float = 0.5, only: set[str] | None = None) -> Any:
    """Makes statistics of examples that match the schema."""
    domains = {domain.name: domain.value[0] for domain in schema.string_domain}
    values = {1: "text", 2: 100, 3: scalar}  # BYTES, INT, FLOAT
    row = {
        feature.name: domains.get(feature.domain, values[feature.type])
        for feature in schema.feature
        if only is None or feature.name in only
    }
    label = {schema_names.LABEL: [0, 1]} if only is None else {}
    return tfdv.generate_statistics_from_dataframe(
        pd.DataFrame({**{name: [value] * 2 for name, value in row.items()}, **label}),
        tfdv.StatsOptions(schema=schema),
    )


def test_schema_requires_one_value_of_every_feature(schema: Schema) -> None:
    for feature in schema.feature:
        assert feature.presence.min_fraction == 1
        assert [dim.size for dim in feature.shape.dim] == [1]


def test_schema_accepts_complete_examples_in_training(schema: Schema) -> None:
    found = tfdv.validate_statistics(statistics_of(schema), schema, environment="TRAINING")
    assert dict(found.anomaly_info) == {}


def test_schema_accepts_image_and_scalars_in_serving_only(schema: Schema) -> None:
    statistics = statistics_of(schema, only=SERVED)
    assert dict(tfdv.validate_statistics(statistics, schema, environment="SERVING").anomaly_info) == {}
    missing = tfdv.validate_statistics(statistics, schema, environment="TRAINING").anomaly_info
    assert set(missing) == {feature.name for feature in schema.feature} - SERVED


def test_schema_has_comparators_for_every_scalar(schema: Schema) -> None:
    now = statistics_of(schema)
    found = tfdv.validate_statistics(now, schema, previous_statistics=now, serving_statistics=now)
    compared = {
        info.path.step[0]
        for info in found.drift_skew_info
        if len(info.drift_measurements) == len(info.skew_measurements) == 1
    }
    assert compared == set(schema_names.IMAGE_SCALARS)


def test_schema_finds_skew_of_served_images(schema: Schema) -> None:
    served = statistics_of(schema, scalar=0.9)
    found = tfdv.validate_statistics(statistics_of(schema), schema, serving_statistics=served)
    assert set(found.anomaly_info) == set(schema_names.IMAGE_SCALARS)


def test_schema_of_more_classes_differs_in_the_domain_of_the_label_alone() -> None:
    three = ("a", "b", "c")
    for two, text in {
        TEXTS["breakhis"]: schemas.breakhis_schema(three),
        TEXTS["images"]: schemas.manifest_schema(["site", "stain"], classes=three),
    }.items():
        expected, found = (text_format.Parse(one, Schema()) for one in (two, text))
        (label,) = [feature for feature in expected.feature if feature.name == schema_names.LABEL]
        label.int_domain.max = 2
        assert found == expected
    assert schemas.breakhis_schema(("a", "b")) == TEXTS["breakhis"]
