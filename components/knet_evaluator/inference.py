"""Puts examples to a SavedModel, and keeps what it says in the place of the images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_model_analysis as tfma
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from knet.base import schema_names
from knet.base.errors import UserError
from knet.evaluation.predictions import check_scores, predictions_schema

_INFERENCE_BATCH: Final = 32  # images; more would be little faster, and take gigabytes of a ResNet152
_OUTPUTS: Final = (schema_names.SCORE, schema_names.IN_DISTRIBUTION, schema_names.DISTANCE)


class RunInference(beam.DoFn):
    """From record batches of examples to TFMA's extracts of as many images: texts, labels and answers.

    TFMA's own extractor calls the signature by position. TensorFlow tries another way of calling first, and
    prints the whole batch of images into an error that nobody sees: that takes several times as long as a
    small model does.
    """

    def __init__(self, saved_model: str, *, candidate: str, columns: Sequence[str]) -> None:
        """Takes the model's folder, whose it is, and the names of the text features to keep."""
        self._saved_model = saved_model
        self._candidate = candidate
        self._columns = list(columns)
        self._shared = Shared()  # threads of a worker load the model once

    def setup(self) -> None:
        """Loads the model."""
        import tensorflow as tf

        # Kept, since the signature and what is shared hold it weakly.
        self._model = self._shared.acquire(lambda: tf.saved_model.load(self._saved_model))
        self._signature = self._model.signatures[schema_names.EXAMPLES_SIGNATURE]
        (self._input,) = self._signature.structured_input_signature[1]

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        """Raises UserError at a score that is no probability, before any metric sees it."""
        for start in range(0, batch.num_rows, _INFERENCE_BATCH):
            yield self._answered(batch.slice(start, _INFERENCE_BATCH))

    def _answered(self, batch: pa.RecordBatch) -> Any:
        import tensorflow as tf

        examples = tf.constant(_values(batch, tfma.ARROW_INPUT_COLUMN), dtype=tf.string)
        answers = self._signature(**{self._input: examples})
        texts = {name: _values(batch, name) for name in self._columns}
        outputs = {name: answers[name].numpy().reshape(-1) for name in _OUTPUTS}
        images = [path.decode("utf-8") for path in texts[schema_names.PATH]]
        check_scores(outputs[schema_names.SCORE], images=images, candidate=self._candidate)
        return {
            tfma.FEATURES_KEY: texts,
            tfma.LABELS_KEY: _values(batch, schema_names.LABEL),
            tfma.PREDICTIONS_KEY: outputs,
        }


def _values(batch: pa.RecordBatch, column: str) -> Any:
    """Of the one feature, [images]."""
    values = batch.column(column).flatten()
    if len(values) != batch.num_rows:
        raise UserError(
            f"the feature {column} has {len(values)} values in {batch.num_rows} examples, and each must have "
            "one: ingest the images again"
        )
    return values.to_numpy(zero_copy_only=False)


_GROUP_SIZE = 16_384  # rows, without images: a few hundred bytes each


class GroupBySlice(beam.DoFn):
    """From batches of `AskModel` to extracts that hold all images with the same values in some columns.

    To TFMA such an extract is an example of several labels, whose metrics are the same; its own fan-out by
    image and slice takes longer than a small model.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        """Takes the columns: the split and those of the slices."""
        self._columns = list(columns)

    def start_bundle(self) -> None:
        """Begins with no row."""
        self._batches: list[dict[str, Any]] = []
        self._count = 0

    def process(self, batch: Any) -> Iterator[Any]:
        """Keeps rows until there are many."""
        texts = batch[tfma.FEATURES_KEY]
        columns = {name: texts[name] for name in (schema_names.PATIENT, *self._columns)}
        columns[schema_names.LABEL] = batch[tfma.LABELS_KEY]
        columns[schema_names.SCORE] = batch[tfma.PREDICTIONS_KEY][schema_names.SCORE]
        self._batches.append(columns)
        self._count += len(columns[schema_names.LABEL])
        if self._count >= _GROUP_SIZE:
            yield from self._gathered()
            self.start_bundle()

    def finish_bundle(self) -> Iterator[Any]:
        """Gives the rest."""
        for extracts in self._gathered():
            yield WindowedValue(extracts, MIN_TIMESTAMP, [GlobalWindow()])

    def _gathered(self) -> Iterator[Any]:
        if not self._batches:
            return
        columns = {
            name: np.concatenate([batch[name] for batch in self._batches]) for name in self._batches[0]
        }
        places = defaultdict(list)
        for place, values in enumerate(zip(*(columns[name] for name in self._columns), strict=True)):
            places[values].append(place)
        for alike in places.values():
            slicing = {name: columns[name][alike[:1]] for name in self._columns}
            yield {
                tfma.INPUT_KEY: b"",  # TFMA measures it, and warns of each that has none
                tfma.FEATURES_KEY: {schema_names.PATIENT: columns[schema_names.PATIENT][alike], **slicing},
                tfma.LABELS_KEY: columns[schema_names.LABEL][alike],
                tfma.PREDICTIONS_KEY: {schema_names.SCORE: columns[schema_names.SCORE][alike]},
            }


_TABLES: Final = 256  # written at a time; each by itself would be a row group


class WritePredictions(beam.PTransform):
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
        self._settings = {schema_names.CANDIDATE: candidate, schema_names.THRESHOLD: threshold}
        self._columns = [name for name in columns if name != schema_names.PATH]

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
    count = len(texts[schema_names.PATH])
    values = {
        **{name: np.full(count, value) for name, value in settings.items()},
        schema_names.IMAGE_PATH: _decoded(texts[schema_names.PATH]),
        schema_names.LABEL: batch[tfma.LABELS_KEY],
        **batch[tfma.PREDICTIONS_KEY],
        **{name: _decoded(texts[name]) for name in columns},
    }
    return pa.table({field.name: pa.array(values[field.name], field.type) for field in schema}, schema)


def _decoded(values: Any) -> list[str]:
    return [value.decode("utf-8") for value in values]
