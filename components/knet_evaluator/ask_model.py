"""Puts examples to a SavedModel, and keeps what it says in the place of the images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
import tensorflow_model_analysis as tfma
from apache_beam.utils.shared import Shared

from pipeline import features
from pipeline.errors import UserError
from pipeline.evaluation.predictions import check_scores

_AT_ONCE: Final = 32  # images; more would be little faster, and take gigabytes of a ResNet152
_OUTPUTS: Final = (features.SCORE, features.IN_DISTRIBUTION, features.DISTANCE)


class AskModel(beam.DoFn):
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
        self._signature = self._model.signatures[features.EXAMPLES_SIGNATURE]
        (self._input,) = self._signature.structured_input_signature[1]

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        """Raises UserError at a score that is no probability, before any metric sees it."""
        for start in range(0, batch.num_rows, _AT_ONCE):
            yield self._answered(batch.slice(start, _AT_ONCE))

    def _answered(self, batch: pa.RecordBatch) -> Any:
        import tensorflow as tf

        examples = tf.constant(_values(batch, tfma.ARROW_INPUT_COLUMN), dtype=tf.string)
        answers = self._signature(**{self._input: examples})
        texts = {name: _values(batch, name) for name in self._columns}
        outputs = {name: answers[name].numpy().reshape(-1) for name in _OUTPUTS}
        images = [path.decode("utf-8") for path in texts[features.PATH]]
        check_scores(outputs[features.SCORE], images=images, candidate=self._candidate)
        return {
            tfma.FEATURES_KEY: texts,
            tfma.LABELS_KEY: _values(batch, features.LABEL),
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
