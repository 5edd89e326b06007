"""Gathers the images that are in the same slices, so that TFMA visits a slice once for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
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
        self._batches: list[dict[str, Any]] = []
        self._count = 0

    def process(self, batch: Any) -> Iterator[Any]:
        """Keeps rows until there are many."""
        texts = batch[tfma.FEATURES_KEY]
        columns = {name: texts[name] for name in (features.PATIENT, *self._columns)}
        columns[features.LABEL] = batch[tfma.LABELS_KEY]
        columns[features.SCORE] = batch[tfma.PREDICTIONS_KEY][features.SCORE]
        self._batches.append(columns)
        self._count += len(columns[features.LABEL])
        if self._count >= _AT_ONCE:
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
                tfma.FEATURES_KEY: {features.PATIENT: columns[features.PATIENT][alike], **slicing},
                tfma.LABELS_KEY: columns[features.LABEL][alike],
                tfma.PREDICTIONS_KEY: {features.SCORE: columns[features.SCORE][alike]},
            }
