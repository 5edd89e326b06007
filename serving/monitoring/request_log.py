"""The log of what a served model was asked: scalars only, a line of JSON an image."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path

from pipeline import features
from serving.monitoring.daily_lines import DailyLines
from serving.monitoring.keep_image import keep_image
from serving.monitoring.measure_image import measure_image
from serving.monitoring.pseudonym import pseudonym
from serving.prediction import Prediction


class RequestLog:
    """Notes each answer of a served model; threads may share one.

    A line has the time (UTC), the model's version, the SHA-256 of the image file, what the model answered,
    and of the image what ingestion measured of the training images, or `unusable`, why it would have refused
    it. Neither images nor names are in it: a patient is there by a keyed hash, and only with a key.
    """

    def __init__(self, folder: Path, *, key: bytes | None = None, keep_images: Path | None = None) -> None:
        """Opens a log.

        Args:
            folder: of its files, one a day; it is made where it is missing.
            key: for the names of patients; without one they are left out.
            keep_images: where the images are to be kept; None keeps none.

        Raises:
            UserError: the folder cannot be written to.
        """
        self._lines = DailyLines(folder)
        self._key = key
        self._keep_images = keep_images

    def note(self, image: bytes, prediction: Prediction, *, patient: str | None = None) -> None:
        """Notes one answer.

        Args:
            image: the file that the model was asked about.
            prediction: what it answered.
            patient: whose image it is, where that is known.

        Raises:
            OSError: it could not be written.
        """
        now = datetime.now(timezone.utc)
        sha256 = hashlib.sha256(image).hexdigest()
        measured = measure_image(image)
        line = {
            "time": now.isoformat(timespec="milliseconds"),
            "version": prediction.model_version,
            "image_sha256": sha256,
            "patient": pseudonym(patient, key=self._key) if patient and self._key else None,
            features.PREDICTED_LABEL: prediction.label,
            features.SCORE: prediction.score,
            features.DISTANCE: prediction.distance,
            features.IN_DISTRIBUTION: prediction.in_distribution,
            features.REASONS: prediction.reasons,
            "unusable": measured.unusable,
            **measured.values,
        }
        if self._keep_images:
            keep_image(self._keep_images, image, sha256=sha256)
        self._lines.append(json.dumps(line) + "\n", time=now)

    def close(self) -> None:
        """Closes the file of the day."""
        self._lines.close()
