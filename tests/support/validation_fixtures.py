"""Fixtures: statistics and anomalies as StatisticsGen and ExampleValidator write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from knet.base import schema_names

SCALAR = "image/mean_red"
SCHEMA = """
feature {
  name: "image/mean_red" type: FLOAT
  drift_comparator { jensen_shannon_divergence { threshold: 0.2 } }
}
feature { name: "label" type: INT int_domain { min: 0 max: 1 is_categorical: true } }
"""


@pytest.fixture(scope="session")
def schema() -> schema_pb2.Schema:
    """One scalar with a comparator, and the label."""
    return text_format.Parse(SCHEMA, schema_pb2.Schema())


@pytest.fixture(scope="session")
def statistics_of(schema: schema_pb2.Schema) -> Callable[..., DatasetFeatureStatisticsList]:
    """Statistics of labels, and of normally distributed values of one scalar with a given mean."""

    def make(labels: Sequence[int] = (0, 1), *, mean: float = 180, seed: int = 0) -> Any:
        values = np.random.default_rng(seed).normal(mean, 10, 100 * len(labels)).astype(np.float32)
        frame = pd.DataFrame({SCALAR: values, schema_names.LABEL: np.repeat(labels, 100)})
        return tfdv.generate_statistics_from_dataframe(frame, tfdv.StatsOptions(schema=schema))

    return make


@pytest.fixture
def write_splits(tmp_path: Path) -> Callable[..., Path]:
    """Writes messages into a new folder, a file for each split."""

    def write(messages: Mapping[str, Any]) -> Path:
        folder = tmp_path / f"splits-{len(list(tmp_path.iterdir()))}"
        for split, message in messages.items():
            name = "SchemaDiff.pb" if isinstance(message, Anomalies) else "FeatureStats.pb"
            path = folder / f"Split-{split}" / name
            path.parent.mkdir(parents=True)
            path.write_bytes(message.SerializeToString())
        return folder

    return write
