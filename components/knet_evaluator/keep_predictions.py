"""Between TFMA's model and its metrics: keeps what the model said, and drops the images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma

from pipeline import features
from pipeline.evaluation.predictions import check_scores, predictions_schema

_OUTPUTS = (features.SCORE, features.IN_DISTRIBUTION, features.DISTANCE)


class KeepPredictions(beam.PTransform):
    """From TFMA's batches to the same with texts, labels and a few outputs only; writes these as Parquet."""

    def __init__(self, folder: Path, *, candidate: str, threshold: float, columns: Sequence[str]) -> None:
        """Says what the rows hold beside the score.

        Args:
            folder: for the Parquet.
            candidate: whose model it is.
            threshold: the score from which an image is called positive.
            columns: names of the text features, the image's path among them.
        """
        super().__init__()
        self._folder = folder
        self._settings = {features.CANDIDATE: candidate, features.THRESHOLD: threshold}
        self._columns = list(columns)

    def expand(self, extracts: Any) -> Any:
        """Raises UserError, in the worker, at a score that is no probability."""
        # A score is checked before any metric sees it.
        light = extracts | "Check" >> beam.Map(
            _light, columns=self._columns, candidate=self._settings[features.CANDIDATE]
        )
        further = [name for name in self._columns if name != features.PATH]
        _ = (
            light
            | "Rows" >> beam.FlatMap(_rows, columns=further, settings=self._settings)
            | "Write"
            >> beam.io.WriteToParquet(
                str(self._folder / "part"),
                predictions_schema(further),
                file_name_suffix=".parquet",
                num_shards=1,
            )
        )
        return light


def _light(batch: Any, *, columns: Sequence[str], candidate: str) -> Any:
    texts = batch[tfma.FEATURES_KEY]
    outputs = {name: batch[tfma.PREDICTIONS_KEY][name] for name in _OUTPUTS}
    check_scores(outputs[features.SCORE], images=_decoded(texts[features.PATH]), candidate=candidate)
    return {
        tfma.FEATURES_KEY: {name: texts[name] for name in columns},
        tfma.LABELS_KEY: batch[tfma.LABELS_KEY],
        tfma.PREDICTIONS_KEY: outputs,
    }


def _rows(batch: Any, *, columns: Sequence[str], settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    texts = {name: _decoded(batch[tfma.FEATURES_KEY][name]) for name in columns}
    images = _decoded(batch[tfma.FEATURES_KEY][features.PATH])
    labels = batch[tfma.LABELS_KEY].reshape(-1).tolist()
    outputs = {name: values.reshape(-1).tolist() for name, values in batch[tfma.PREDICTIONS_KEY].items()}
    for number, image in enumerate(images):
        yield {
            **settings,
            features.IMAGE_PATH: image,
            features.LABEL: labels[number],
            **{name: values[number] for name, values in outputs.items()},
            **{name: values[number] for name, values in texts.items()},
        }


def _decoded(values: Any) -> list[str]:
    return [value.decode("utf-8") for value in values.reshape(-1)]
