"""External images: further test images of a cross-validation, such as those of another scanner."""

from __future__ import annotations

import itertools
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from knet.base import schema_names
from knet.base.errors import UnusableError, UserError
from knet.base.split_units import PATIENT
from knet.data.catalog import read_catalog
from knet.data.image_checks import Quarantined, check_quarantine_rate, validate_image
from knet.data.source import ImageFile, Reader
from knet.data.split import Split
from knet.evaluation.predictions import score_columns
from pipeline.config.config import Config
from pipeline.preflight import is_synthetic_catalog

MODELS = "models"  # column: number of models whose mean probability the score is
_SPLIT = "external"
_BATCH_SIZE = 32  # of inference


@dataclass(frozen=True)
class ExternalImages:
    """Images that no model is trained on.

    Attributes:
        images: the usable images, sorted by path.
        reader: of their files.
        source: name of the folder, archive or manifest.
        synthetic: whether they are synthetic.
        unusable: number of files that cannot be used; the log has their reasons.
    """

    images: tuple[ImageFile, ...]
    reader: Reader
    source: str
    synthetic: bool
    unusable: int

    def tested_in(self, split: Split) -> ExternalImages:
        """Return the images that may test the models of a fold.

        These are the images of the fold's test patients, and those of patients that are in no fold.
        """
        allowed = (None, schema_names.TEST)
        return replace(
            self,
            images=tuple(image for image in self.images if split.assignment.get(image.patient) in allowed),
        )

    def batches(self) -> Iterator[list[bytes]]:
        """Yield the contents of the images, as PNG or JPEG, in batches for inference."""
        contents = (validate_image(self.reader.read(image.path)).encoded for image in self.images)
        while batch := list(itertools.islice(contents, _BATCH_SIZE)):
            yield batch


@contextmanager
def open_external(location: Path, config: Config) -> Iterator[ExternalImages]:
    """List and decode external images, and keep their source open.

    Args:
        location: folder, archive or manifest, as for `data.source`.
        config: the configuration of the cross-validation.

    Raises:
        UserError: there are no such images, too many of them are unusable, or the folds are not of patients.
    """
    if config.data.split.unit != PATIENT:
        raise UserError(
            f"--external needs folds of patients, not data.split.unit={config.data.split.unit}; leave one out"
        )
    try:
        catalog = read_catalog(
            location, classes=config.data.classes, keep_duplicate_slides=config.data.keep_duplicate_slides
        )
    except UserError as error:
        raise UserError(f"--external: {error}") from None
    with (
        tempfile.TemporaryDirectory() as folder,
        catalog.source.random_access(Path(folder)) as source,
        source.open() as reader,
    ):
        usable, quarantined = [], list(catalog.quarantined)
        for image in catalog.images:
            try:
                validate_image(reader.read(image.path))
                usable.append(image)
            except UnusableError as error:
                quarantined.append(Quarantined(image.path, str(error)))
        check_quarantine_rate(
            quarantined,
            images=len(usable),
            max_invalid_fraction=config.data.max_invalid_fraction,
            location=catalog.location,
        )
        yield ExternalImages(
            tuple(usable), reader, catalog.location.name, is_synthetic_catalog(catalog), len(quarantined)
        )


class ExternalPredictions:
    """Probabilities of external images, which several models of a candidate may have predicted."""

    def __init__(self, classes: Sequence[str]) -> None:
        """Create it empty.

        Args:
            classes: class names, in the order of the labels.
        """
        self._classes = list(classes)
        self._probabilities: defaultdict[tuple[str, int, ImageFile], list[NDArray[np.float32]]] = defaultdict(
            list
        )
        self._thresholds: defaultdict[tuple[str, int, ImageFile], list[float]] = defaultdict(list)

    def add(
        self,
        candidate: str,
        seed: int,
        images: Sequence[ImageFile],
        probabilities: NDArray[np.float32],
        *,
        threshold: float | None,
    ) -> None:
        """Add the predictions of one model.

        Args:
            candidate: its name.
            seed: of the repeat.
            images: the images, [images].
            probabilities: [images, classes].
            threshold: lowest score of a positive image; None if the model has none.
        """
        for image, row in zip(images, probabilities, strict=True):
            self._probabilities[candidate, seed, image].append(row)
            self._thresholds[candidate, seed, image].append(np.nan if threshold is None else threshold)

    def frame(self) -> pd.DataFrame:
        """Return a row for each candidate, seed and image, with the means over the models.

        The columns are those of the Evaluators, `seed` and `models`.
        """
        keys = list(self._probabilities)
        means = np.stack([np.mean(self._probabilities[key], axis=0) for key in keys])
        return pd.DataFrame(
            {
                **pd.DataFrame([dict(image.columns) for _, _, image in keys]),
                schema_names.CANDIDATE: [candidate for candidate, _, _ in keys],
                schema_names.IMAGE_PATH: [image.path for _, _, image in keys],
                schema_names.PATIENT: [image.patient for _, _, image in keys],
                schema_names.SPLIT: _SPLIT,
                schema_names.LABEL: [self._classes.index(image.label) for _, _, image in keys],
                schema_names.THRESHOLD: [float(np.mean(self._thresholds[key])) for key in keys],
                "seed": [seed for _, seed, _ in keys],
                MODELS: [len(self._probabilities[key]) for key in keys],
                **score_columns(means),
            }
        )
