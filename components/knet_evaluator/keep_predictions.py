"""Keeps what the model said of each image as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_model_analysis as tfma

from pipeline import features
from pipeline.evaluation.predictions import predictions_schema

_TABLES: Final = 256  # written at a time; each by itself would be a row group


class KeepPredictions(beam.PTransform):
    """Writes the batches of `AskModel`, a row an image."""

    def __init__(self, folder: Path, *, candidate: str, threshold: float, columns: Sequence[str]) -> None:
        """Says what the rows hold beside the answers.

        Args:
            folder: for the Parquet.
            candidate: whose model it is.
            threshold: the score from which an image is called positive.
            columns: names of the text features, the image's path among them.
        """
        super().__init__()
        self._folder = folder
        self._settings = {features.CANDIDATE: candidate, features.THRESHOLD: threshold}
        self._columns = [name for name in columns if name != features.PATH]

    def expand(self, batches: Any) -> Any:
        """From batches to the files' names."""
        schema = predictions_schema(self._columns)
        return (
            batches
            | "Rows" >> beam.Map(_rows, columns=self._columns, settings=self._settings, schema=schema)
            | "Gather" >> beam.BatchElements(_TABLES, _TABLES)
            | "Concatenate" >> beam.Map(pa.concat_tables)
            | "Write"
            >> beam.io.WriteToParquetBatched(
                str(self._folder / "part"), schema, file_name_suffix=".parquet", num_shards=1
            )
        )


def _rows(batch: Any, *, columns: Sequence[str], settings: dict[str, Any], schema: pa.Schema) -> pa.Table:
    texts = batch[tfma.FEATURES_KEY]
    count = len(texts[features.PATH])
    values = {
        **{name: np.full(count, value) for name, value in settings.items()},
        features.IMAGE_PATH: _decoded(texts[features.PATH]),
        features.LABEL: batch[tfma.LABELS_KEY],
        **batch[tfma.PREDICTIONS_KEY],
        **{name: _decoded(texts[name]) for name in columns},
    }
    return pa.table({field.name: pa.array(values[field.name], field.type) for field in schema}, schema)


def _decoded(values: Any) -> list[str]:
    return [value.decode("utf-8") for value in values]
