"""Request log of a served model: scalars only, one line of JSON for each image."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from threading import Lock
from typing import Any, Final

from knet.base import schema_names
from knet.base.errors import UnusableError, UserError
from knet.base.files import atomic_write
from knet.base.image_scalars import image_scalars
from knet.client.results import Prediction
from knet.data.image_checks import validate_image
from knet.serving.dev_server.observers import RequestRecord


class RequestLog:
    """Logs the predictions of a served model; thread-safe.

    A line has the time (UTC), the model version, the SHA-256 of the image file, the prediction, and the image
    scalars that ingestion measures of training images. An image that ingestion would reject has the reason in
    `unusable` instead. Images and names are not logged: a patient is a keyed hash, and only with a key.
    """

    def __init__(self, folder: Path, *, key: bytes | None = None, image_folder: Path | None = None) -> None:
        """Open a log.

        Args:
            folder: folder of the daily files; created if it is missing.
            key: key that hashes patient names; None leaves patients out.
            image_folder: folder to store the images in; None stores none.

        Raises:
            UserError: the folder cannot be written to.
        """
        self._file = DailyFile(folder)
        self._key = key
        self._image_folder = image_folder

    def record(self, image: bytes, prediction: Prediction, *, patient: str | None = None) -> None:
        """Log one prediction.

        Args:
            image: the encoded image file.
            prediction: the model's prediction for it.
            patient: name or accession of the patient, if known.

        Raises:
            OSError: the line could not be written.
        """
        now = datetime.now(timezone.utc)
        sha256 = hashlib.sha256(image).hexdigest()
        measured = measure_image(image)
        line = {
            "time": now.isoformat(timespec="milliseconds"),
            "version": prediction.model_version,
            "image_sha256": sha256,
            "patient": pseudonymize(patient, key=self._key) if patient and self._key else None,
            schema_names.PREDICTED_LABEL: prediction.label,
            schema_names.SCORE: prediction.score,
            **_of_more_classes(prediction),
            schema_names.DISTANCE: prediction.distance,
            schema_names.IN_DISTRIBUTION: prediction.in_distribution,
            schema_names.REASONS: prediction.reasons,
            "unusable": measured.unusable,
            **measured.values,
        }
        if self._image_folder:
            store_image(self._image_folder, image, sha256=sha256)
        self._file.append(json.dumps(line) + "\n", time=now)

    def close(self) -> None:
        """Close the file of the day."""
        self._file.close()


def _of_more_classes(prediction: Prediction) -> dict[str, Any]:
    """Return the fields of more than two classes: the score of two says everything."""
    if prediction.positive_class is not None:
        return {}
    group = (
        {} if prediction.positive_score is None else {schema_names.POSITIVE_SCORE: prediction.positive_score}
    )
    return {schema_names.PROBABILITIES: prediction.probabilities, **group}


SUFFIX: Final = ".jsonl"


class DailyFile:
    """Appends to a file per day, `2026-01-31.jsonl`, that only its owner can read.

    - Threads and processes may share a folder: an append is a single write call, so lines do not interleave.
    - Lines survive when the process is killed.
    - A write that is interrupted, or fails because the disk is full, can leave a truncated line. It is
      terminated when the file is next opened, so that the next line is complete.
    """

    def __init__(self, folder: Path) -> None:
        """Create the folder if it is missing.

        Raises:
            UserError: the folder cannot be created or written to.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot create the folder {folder}: {error.strerror}; choose another") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(f"cannot write into {folder}: permission denied; choose another folder")
        self._folder = folder
        self._lock = Lock()
        self._day = ""
        self._descriptor = -1
        self._truncated = False

    def append(self, text: str, *, time: datetime) -> None:
        """Append complete lines to the file of a day.

        Args:
            text: one or more lines, each ending with a newline.
            time: time in UTC, whose date selects the file.

        Raises:
            OSError: the text could not be written completely.
        """
        with self._lock:
            self._open(time.strftime("%Y-%m-%d"))
            data = (b"\n" if self._truncated else b"") + text.encode()
            written = os.write(self._descriptor, data)
            self._truncated = written < len(data)
            if self._truncated:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))

    def close(self) -> None:
        """Close the file; appending opens it again."""
        with self._lock:
            self._close()

    def _open(self, day: str) -> None:
        if day == self._day and os.fstat(self._descriptor).st_nlink:  # no link: the file was deleted
            return
        self._close()
        path = self._folder / f"{day}{SUFFIX}"
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._day = day
        size = os.fstat(self._descriptor).st_size
        self._truncated = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def _close(self) -> None:
        if self._day:
            os.close(self._descriptor)
        self._day = ""


class LogObserver:
    """Observer of the development server that logs predictions of `serving_default`."""

    def __init__(self, log: RequestLog) -> None:
        self._log = log

    def observe(self, request_record: RequestRecord) -> None:
        """Log each image of a request."""
        if request_record.signature != schema_names.SERVING_SIGNATURE:
            return
        for image, outputs in zip(request_record.images, request_record.outputs, strict=True):
            prediction = _prediction(outputs, version=request_record.version)
            self._log.record(image, prediction, patient=request_record.patient)


def _prediction(outputs: Any, *, version: int) -> Prediction:
    return Prediction(
        label=outputs[schema_names.PREDICTED_LABEL],
        score=outputs[schema_names.SCORE],
        probabilities=dict(
            zip(outputs[schema_names.CLASSES], outputs[schema_names.PROBABILITIES], strict=True)
        ),
        model_version=version,
        in_distribution=outputs[schema_names.IN_DISTRIBUTION],
        reasons=tuple(filter(None, outputs[schema_names.REASONS])),
        distance=outputs[schema_names.DISTANCE],
        threshold=outputs.get(schema_names.THRESHOLD),
        positive_score=outputs.get(schema_names.POSITIVE_SCORE),
    )


_PNG = b"\x89PNG"


def store_image(folder: Path, content: bytes, *, sha256: str) -> Path:
    """Write an image atomically under its hash, unless it exists; only its owner can read it."""
    path = folder / f"{sha256}{'.png' if content.startswith(_PNG) else '.jpg'}"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_write(path, content, mode=0o600)
    return path


@dataclass(frozen=True)
class ImageMeasurement:
    """Scalars of a served image, comparable with those of ingested examples."""

    values: dict[str, float] = field(default_factory=dict)  # by feature: width, height and IMAGE_SCALARS
    unusable: str | None = None  # why ingestion would reject the image; there are no values then


def measure_image(content: bytes) -> ImageMeasurement:
    """Decode and measure an image file with ingestion's functions.

    A model accepts images that ingestion would reject, such as grey ones: the training data has no comparable
    images.
    """
    try:
        pixels = validate_image(content).pixels
    except UnusableError as error:
        return ImageMeasurement(unusable=str(error))
    height, width, _ = pixels.shape
    return ImageMeasurement({schema_names.WIDTH: width, schema_names.HEIGHT: height, **image_scalars(pixels)})


KEY_VARIABLE: Final = "KNET_LOG_KEY"
_MIN_KEY_LENGTH = 16  # bytes; there are few accessions, so a short key can be found by brute force


def pseudonymize(patient: str, *, key: bytes) -> str:
    """HMAC-SHA-256 of a patient's name or accession, in hexadecimal."""
    return hmac.new(key, patient.encode(), hashlib.sha256).hexdigest()


def read_key(file: Path | None = None) -> bytes | None:
    """Read the key that hashes patient names.

    Args:
        file: file with the key; None reads the environment variable KNET_LOG_KEY.

    Returns:
        The key, or None if there is neither a file nor the variable.

    Raises:
        UserError: the file cannot be read, or the key is shorter than 16 bytes.
    """
    if file is None:
        text = os.environ.get(KEY_VARIABLE)
        return None if text is None else _checked(text.encode(), where=KEY_VARIABLE)
    try:
        return _checked(file.read_bytes(), where=str(file))
    except OSError as error:
        raise UserError(f"cannot read the key of the request log, {file}: {error.strerror}") from None


def _checked(key: bytes, *, where: str) -> bytes:
    key = key.strip()
    if len(key) < _MIN_KEY_LENGTH:
        raise UserError(
            f"{where}: the key of the request log must have {_MIN_KEY_LENGTH} bytes or more; "
            "make one with: openssl rand -hex 32"
        )
    return key
