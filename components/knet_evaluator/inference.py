"""Beam steps of the evaluation: run inference, group by slice, write predictions."""

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

_INFERENCE_BATCH: Final = 32  # images; more is little faster, and costs gigabytes with a ResNet152
_OUTPUTS: Final = (schema_names.SCORE, schema_names.IN_DISTRIBUTION, schema_names.DISTANCE)


class RunInference(beam.DoFn):
    """Predicts record batches of examples, and yields TFMA extracts of texts, labels and predictions.

    The extracts are without images. TFMA's extractor is not used: it calls the signature by position, on
    which TensorFlow formats the whole batch into a discarded error, at several times the cost of a small
    model.
    """

    def __init__(
        self, saved_model: str, *, candidate: str, columns: Sequence[str], probabilities: bool = False
    ) -> None:
        """Create the step.

        Args:
            saved_model: Folder of the SavedModel.
            candidate: Name of the candidate, for messages.
            columns: Names of the text features to extract.
            probabilities: Whether to extract the probability of every class, of more than two.
        """
        self._saved_model = saved_model
        self._candidate = candidate
        self._columns = list(columns)
        self._probabilities = probabilities
        self._shared = Shared()  # threads of a worker load the model once

    def setup(self) -> None:
        """Load the model."""
        import tensorflow as tf

        # An attribute, since the signature and the shared handle hold weak references.
        self._model = self._shared.acquire(lambda: tf.saved_model.load(self._saved_model))
        self._signature = self._model.signatures[schema_names.EXAMPLES_SIGNATURE]
        (self._input,) = self._signature.structured_input_signature[1]

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        """Predict a record batch.

        Raises:
            UserError: A score is no probability, or a feature is missing.
        """
        for start in range(0, batch.num_rows, _INFERENCE_BATCH):
            yield self._predict(batch.slice(start, _INFERENCE_BATCH))

    def _predict(self, batch: pa.RecordBatch) -> Any:
        import tensorflow as tf

        examples = tf.constant(_values(batch, tfma.ARROW_INPUT_COLUMN), dtype=tf.string)
        predictions = self._signature(**{self._input: examples})
        texts = {name: _values(batch, name) for name in self._columns}
        outputs = {name: predictions[name].numpy().reshape(-1) for name in _OUTPUTS}
        if self._probabilities:
            outputs[schema_names.PROBABILITIES] = predictions[schema_names.PROBABILITIES].numpy()
        images = [path.decode("utf-8") for path in texts[schema_names.PATH]]
        check_scores(outputs[schema_names.SCORE], images=images, candidate=self._candidate)
        return {
            tfma.FEATURES_KEY: texts,
            tfma.LABELS_KEY: _values(batch, schema_names.LABEL),
            tfma.PREDICTIONS_KEY: outputs,
        }


def _values(batch: pa.RecordBatch, column: str) -> Any:
    """Return the values of a feature that each example has once, [images]."""
    values = batch.column(column).flatten()
    if len(values) != batch.num_rows:
        raise UserError(
            f"the feature {column} has {len(values)} values in {batch.num_rows} examples, and each must have "
            "one: ingest the images again"
        )
    return values.to_numpy(zero_copy_only=False)


_GROUP_SIZE = 16_384  # rows, without images: a few hundred bytes each


class GroupBySlice(beam.DoFn):
    """Groups extracts of `RunInference` into extracts of images with equal values in some columns.

    To TFMA such an extract is an example with several labels. Metrics are the same, and TFMA's fan-out by
    image and slice, which costs more than a small model, has less to do.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        """Create the step; the columns are the split and those of the slices."""
        self._columns = list(columns)

    def start_bundle(self) -> None:
        """Clear the rows."""
        self._batches: list[dict[str, Any]] = []
        self._count = 0

    def process(self, batch: Any) -> Iterator[Any]:
        """Collect rows, and yield them in groups once there are many."""
        texts = batch[tfma.FEATURES_KEY]
        columns = {name: texts[name] for name in (schema_names.PATIENT, *self._columns)}
        columns[schema_names.LABEL] = batch[tfma.LABELS_KEY]
        predictions = batch[tfma.PREDICTIONS_KEY]
        self._predicted = next(
            name for name in (schema_names.PROBABILITIES, schema_names.SCORE) if name in predictions
        )
        columns[self._predicted] = predictions[self._predicted]
        self._batches.append(columns)
        self._count += len(columns[schema_names.LABEL])
        if self._count >= _GROUP_SIZE:
            yield from self._groups()
            self.start_bundle()

    def finish_bundle(self) -> Iterator[Any]:
        """Yield the remaining groups."""
        for extracts in self._groups():
            yield WindowedValue(extracts, MIN_TIMESTAMP, [GlobalWindow()])

    def _groups(self) -> Iterator[Any]:
        if not self._batches:
            return
        columns = {
            name: np.concatenate([batch[name] for batch in self._batches]) for name in self._batches[0]
        }
        groups = defaultdict(list)
        for row, values in enumerate(zip(*(columns[name] for name in self._columns), strict=True)):
            groups[values].append(row)
        for rows in groups.values():
            slicing = {name: columns[name][rows[:1]] for name in self._columns}
            yield {
                tfma.INPUT_KEY: b"",  # TFMA measures its size, and warns if it is missing
                tfma.FEATURES_KEY: {schema_names.PATIENT: columns[schema_names.PATIENT][rows], **slicing},
                tfma.LABELS_KEY: columns[schema_names.LABEL][rows],
                tfma.PREDICTIONS_KEY: {self._predicted: columns[self._predicted][rows]},
            }


_TABLES: Final = 256  # concatenated before writing; each alone would be a row group


class WritePredictions(beam.PTransform):
    """Writes extracts of `RunInference` as Parquet, a row for each image."""

    def __init__(
        self,
        folder: Path,
        *,
        candidate: str,
        threshold: float | None,
        columns: Sequence[str],
        probabilities: bool = False,
    ) -> None:
        """Create the transform.

        Args:
            folder: Folder of the Parquet files.
            candidate: Name of the candidate.
            threshold: Lowest score of a positive image, 0 to 1; None if there is none.
            columns: Names of the text features, including the image's path.
            probabilities: Whether the extracts have the probability of every class.
        """
        super().__init__()
        self._folder = folder
        self._constants = {schema_names.CANDIDATE: candidate, schema_names.THRESHOLD: threshold}
        self._columns = [name for name in columns if name != schema_names.PATH]
        self._probabilities = probabilities

    def expand(self, batches: Any) -> Any:
        """Write extracts, and return the names of the files."""
        schema = predictions_schema(self._columns, probabilities=self._probabilities)
        return (
            batches
            | "Rows" >> beam.Map(_rows, columns=self._columns, constants=self._constants, schema=schema)
            | "Batch" >> beam.BatchElements(_TABLES, _TABLES)
            | "Concatenate" >> beam.Map(pa.concat_tables)
            | "Write"
            >> beam.io.WriteToParquetBatched(
                str(self._folder / "part"), schema, file_name_suffix=".parquet", num_shards=1
            )
        )


def _rows(batch: Any, *, columns: Sequence[str], constants: dict[str, Any], schema: pa.Schema) -> pa.Table:
    texts = batch[tfma.FEATURES_KEY]
    count = len(texts[schema_names.PATH])
    values = {
        **{name: np.full(count, value) for name, value in constants.items()},
        schema_names.IMAGE_PATH: _decoded(texts[schema_names.PATH]),
        schema_names.LABEL: batch[tfma.LABELS_KEY],
        **batch[tfma.PREDICTIONS_KEY],
        **{name: _decoded(texts[name]) for name in columns},
    }
    if schema_names.PROBABILITIES in values:
        values[schema_names.PROBABILITIES] = list(values[schema_names.PROBABILITIES])
    return pa.table({field.name: pa.array(values[field.name], field.type) for field in schema}, schema)


def _decoded(values: Any) -> list[str]:
    return [value.decode("utf-8") for value in values]
