"""Proposes a schema from statistics, with TFDV."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from pipeline import features


def infer(statistics: Iterable[statistics_pb2.DatasetFeatureStatisticsList]) -> schema_pb2.Schema:
    """A schema that knows the data alone: a start for a set of images that has none.

    Args:
        statistics: of each split.
    """
    first, *others = statistics
    schema = relax(tfdv.infer_schema(first), others)
    for feature in schema.feature:  # what numbers and bytes do not tell, and StatisticsGen and DataGate need
        if feature.name == features.IMAGE:
            feature.image_domain.SetInParent()
        if feature.name == features.LABEL:
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
    for of_split in statistics:
        schema = tfdv.update_schema(schema, of_split)
    return schema
