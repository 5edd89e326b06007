"""What a candidate said of each image, as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.evaluation.patient_metrics import PatientSample

FOLDER: Final = "predictions"  # of a ModelEvaluation artifact; its files are in no order
# The columns; beside them there is one for each further text feature, such as slide or magnification.
_FIRST: Final = {
    schema_names.CANDIDATE: pa.string(),
    schema_names.IMAGE_PATH: pa.string(),
    schema_names.PATIENT: pa.string(),
    schema_names.SPLIT: pa.string(),
    schema_names.LABEL: pa.int64(),
    schema_names.SCORE: pa.float32(),
    schema_names.THRESHOLD: pa.float32(),
    schema_names.IN_DISTRIBUTION: pa.bool_(),
    schema_names.DISTANCE: pa.float32(),
}


def predictions_schema(columns: list[str]) -> pa.Schema:
    """The columns and their types.

    Args:
        columns: names of further text features.
    """
    further = {name: pa.string() for name in columns if name not in _FIRST}
    return pa.schema(list({**_FIRST, **further}.items()))


def read_predictions(place: Path) -> Any:
    """A data frame, sorted by image.

    Args:
        place: of the Parquet, a file or a folder.

    Raises:
        UserError: there are none, an image is there twice, or a score is no probability; the text names
            candidate and image.
    """
    if not place.exists():
        raise UserError(f"no predictions: {place} is missing")
    frame = parquet.read_table(place).to_pandas().sort_values(schema_names.IMAGE_PATH, ignore_index=True)
    doubled = frame[frame[schema_names.IMAGE_PATH].duplicated()]
    if len(doubled):
        row = doubled.iloc[0]
        candidate, image = row[schema_names.CANDIDATE], row[schema_names.IMAGE_PATH]
        raise UserError(f"{candidate}: there are two predictions of image {image} in {place}")
    check_scores(
        frame[schema_names.SCORE],
        images=frame[schema_names.IMAGE_PATH],
        candidate=str(frame[schema_names.CANDIDATE].max()),
    )
    return frame


def check_scores(scores: Any, *, images: Any, candidate: str) -> None:
    """Checks that scores are probabilities.

    Args:
        scores: [images].
        images: their names, likewise.
        candidate: whose they are.

    Raises:
        UserError: one is undefined or beyond 0 to 1; the text names the first such image.
    """
    values = np.asarray(scores, dtype=np.float64)
    wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if wrong.size:
        raise UserError(
            f"{candidate} gives image {np.asarray(images)[wrong[0]]} the probability {values[wrong[0]]} "
            f"(likewise {wrong.size} of {values.size} images looked at together); train it with a lower "
            "training.learning_rate, or leave it out of candidates"
        )


def write_predictions(frame: Any, file: Path) -> None:
    """Write predictions as one Parquet file, atomically."""
    atomic_write(file, lambda path: frame.to_parquet(path, index=False))


def patient_sample(frame: Any) -> PatientSample:
    """What is judged: some rows of one candidate's predictions."""
    return PatientSample(
        images=frame[schema_names.IMAGE_PATH].to_numpy(dtype=str),
        patients=frame[schema_names.PATIENT].to_numpy(dtype=str),
        labels=frame[schema_names.LABEL].to_numpy(),
        scores=frame[schema_names.SCORE].to_numpy(),
        threshold=float(frame[schema_names.THRESHOLD].iloc[0]) if len(frame) else 0.5,
    )
