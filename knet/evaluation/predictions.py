"""The table of a candidate's predictions, a row per image, as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.evaluation.binary_metrics import BinarySample
from knet.evaluation.multiclass_metrics import MulticlassSample
from knet.evaluation.sample import Sample
from knet.models.calibration import group_scores

FOLDER: Final = "predictions"  # in a ModelEvaluation artifact; its shards are in no order
# Further text features, such as slide and magnification, have a column each.
_COLUMNS: Final = {
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


def predictions_schema(columns: list[str], *, probabilities: bool = False) -> pa.Schema:
    """Return the columns with their types.

    Args:
        columns: names of further text features.
        probabilities: whether there is a column of the probabilities of all classes.
    """
    further: dict[str, Any] = {name: pa.string() for name in columns if name not in _COLUMNS}
    if probabilities:
        further[schema_names.PROBABILITIES] = pa.list_(pa.float32())
    return pa.schema(list({**_COLUMNS, **further}.items()))


def read_predictions(path: Path) -> Any:
    """Read predictions as a data frame, sorted by image.

    Args:
        path: a Parquet file, or a folder of shards.

    Raises:
        UserError: the path does not exist, an image has two rows, or a score is not a probability.
    """
    if not path.exists():
        raise UserError(f"no predictions: {path} is missing; restore it, or run into a new output folder")
    frame = parquet.read_table(path).to_pandas().sort_values(schema_names.IMAGE_PATH, ignore_index=True)
    duplicates = frame[frame[schema_names.IMAGE_PATH].duplicated()]
    if len(duplicates):
        row = duplicates.iloc[0]
        candidate, image = row[schema_names.CANDIDATE], row[schema_names.IMAGE_PATH]
        raise UserError(
            f"{path}: two predictions of {candidate} for image {image}; run into a new output folder"
        )
    check_scores(
        frame[schema_names.SCORE],
        images=frame[schema_names.IMAGE_PATH],
        candidate=str(frame[schema_names.CANDIDATE].max()),
    )
    return frame


def check_scores(scores: Any, *, images: Any, candidate: str) -> None:
    """Check that scores are probabilities.

    Args:
        scores: float [images].
        images: names of the images, str [images].
        candidate: name of the candidate.

    Raises:
        UserError: a score is NaN or outside 0 to 1; the text names the first such image.
    """
    values = np.asarray(scores, dtype=np.float64)
    invalid = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if invalid.size:
        raise UserError(
            f"{candidate}: invalid probability {values[invalid[0]]} for image "
            f"{np.asarray(images)[invalid[0]]}, and {invalid.size} of {values.size} in this batch; lower "
            "training.learning_rate, or remove it from candidates"
        )


def write_predictions(frame: Any, file: Path) -> None:
    """Write predictions as one Parquet file, atomically."""
    atomic_write(file, lambda path: frame.to_parquet(path, index=False))


def score_columns(probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """Return the columns with the scores, and for more than two classes the probabilities, of images.

    Args:
        probabilities: [images, classes].
    """
    if probabilities.shape[1] == 2:
        return {schema_names.SCORE: probabilities[:, 1]}
    return {
        schema_names.SCORE: probabilities.max(axis=1),
        schema_names.PROBABILITIES: list(probabilities),
    }


def prediction_sample(frame: Any, *, classes: Sequence[str], positive: Sequence[str] = ()) -> Sample:
    """Return the sample of some rows of one candidate's predictions.

    Args:
        frame: rows of a table that `read_predictions` returned.
        classes: class names, in the order of the labels.
        positive: names of the positive group of more than two classes; empty if there is none.
    """
    if len(classes) == 2:
        return binary_sample(frame)
    probabilities = np.array(frame[schema_names.PROBABILITIES].to_list(), dtype=np.float32)
    return MulticlassSample(
        **_rows(frame),
        probabilities=probabilities.reshape(len(frame), len(classes)),
        positive=[classes.index(name) for name in positive],
        threshold=frame[schema_names.THRESHOLD].to_numpy(),
    )


def binary_sample(frame: Any) -> BinarySample:
    """Return the sample of some rows of one candidate's predictions of two classes."""
    return BinarySample(
        **_rows(frame),
        scores=frame[schema_names.SCORE].to_numpy(),
        threshold=frame[schema_names.THRESHOLD].to_numpy(),  # of several folds there are several
    )


def _rows(frame: Any) -> dict[str, Any]:
    return {
        "images": frame[schema_names.IMAGE_PATH].to_numpy(dtype=str),
        "patients": frame[schema_names.PATIENT].to_numpy(dtype=str),
        "labels": frame[schema_names.LABEL].to_numpy(),
    }


def binary_predictions(
    frame: Any, *, classes: Sequence[str], positive: Sequence[str]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the score of each row, and whether it is positive, 0 or 1: each [rows].

    Args:
        frame: rows of a table that `read_predictions` returned.
        classes: class names, in the order of the labels.
        positive: names of the positive group of more than two classes.
    """
    labels = frame[schema_names.LABEL].to_numpy()
    if len(classes) == 2:
        return frame[schema_names.SCORE].to_numpy(float), labels
    group = [classes.index(name) for name in positive]
    probabilities = np.stack(frame[schema_names.PROBABILITIES])
    return group_scores(probabilities, group).astype(float), np.isin(labels, group).astype(int)
