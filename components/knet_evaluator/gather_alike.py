"""Gathers the images that are in the same slices, so that TFMA visits a slice once for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pandas as pd
import tensorflow_model_analysis as tfma
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import features

_AT_ONCE = 16_384  # rows, without images: a few hundred bytes each


class GatherAlike(beam.DoFn):
    """From batches of `AskModel` to extracts that hold all images with the same values in some columns.

    To TFMA such an extract is an example of several labels, whose metrics are the same; its own fan-out by
    image and slice takes longer than a small model.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        """Takes the columns: the split and those of the slices."""
        self._columns = list(columns)

    def start_bundle(self) -> None:
        """Begins with no row."""
        self._rows: list[pd.DataFrame] = []
        self._count = 0

    def process(self, batch: Any) -> Iterator[Any]:
        """Keeps rows until there are many."""
        texts = batch[tfma.FEATURES_KEY]
        rows = {name: texts[name] for name in {features.PATIENT, *self._columns}}
        rows[features.LABEL] = batch[tfma.LABELS_KEY]
        rows[features.SCORE] = batch[tfma.PREDICTIONS_KEY][features.SCORE]
        self._rows.append(pd.DataFrame(rows))
        self._count += len(self._rows[-1])
        if self._count >= _AT_ONCE:
            yield from self._gathered()
            self.start_bundle()

    def finish_bundle(self) -> Iterator[Any]:
        """Gives the rest."""
        for extracts in self._gathered():
            yield WindowedValue(extracts, MIN_TIMESTAMP, [GlobalWindow()])

    def _gathered(self) -> Iterator[Any]:
        if not self._rows:
            return
        table = pd.concat(self._rows, ignore_index=True)
        for places in table.groupby(self._columns, sort=False).indices.values():
            rows = table.iloc[places]
            slicing = {name: rows[name].to_numpy()[:1] for name in self._columns}
            yield {
                tfma.INPUT_KEY: b"",  # TFMA measures it, and warns of each that has none
                tfma.FEATURES_KEY: {features.PATIENT: rows[features.PATIENT].to_numpy(), **slicing},
                tfma.LABELS_KEY: rows[features.LABEL].to_numpy(),
                tfma.PREDICTIONS_KEY: {features.SCORE: rows[features.SCORE].to_numpy()},
            }
