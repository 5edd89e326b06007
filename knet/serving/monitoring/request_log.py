"""The log of what a served model was asked: scalars only, a line of JSON an image."""

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
from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.base.image_scalars import image_scalars
from knet.client.results import Prediction
from knet.data.image_checks import UnusableError, examine
from knet.serving.dev_server.metrics import RequestRecord


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
            schema_names.PREDICTED_LABEL: prediction.label,
            schema_names.SCORE: prediction.score,
            schema_names.DISTANCE: prediction.distance,
            schema_names.IN_DISTRIBUTION: prediction.in_distribution,
            schema_names.REASONS: prediction.reasons,
            "unusable": measured.unusable,
            **measured.values,
        }
        if self._keep_images:
            keep_image(self._keep_images, image, sha256=sha256)
        self._lines.append(json.dumps(line) + "\n", time=now)

    def close(self) -> None:
        """Closes the file of the day."""
        self._lines.close()


SUFFIX: Final = ".jsonl"


class DailyLines:
    """A folder with a file for each day, `2026-01-31.jsonl`; only its owner can read them.

    Several threads and processes may append: what is given at once is written by one call of the operating
    system, so no line is torn apart by another, and what was written is there when the process is killed. The
    one line that was just being written then, or when the disk was full, may be cut off. It is ended when the
    file is next opened, so that it spoils no other.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is missing.

        Raises:
            UserError: it cannot be made or written to.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {folder}: {error.strerror}; choose another") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(f"cannot write into {folder}: permission denied; choose another folder")
        self._folder = folder
        self._lock = Lock()
        self._day = ""
        self._file = -1
        self._torn = False

    def append(self, text: str, *, time: datetime) -> None:
        """Appends whole lines to the file of a day.

        Args:
            text: that ends with the end of a line.
            time: UTC.

        Raises:
            OSError: they could not be written, or not whole.
        """
        with self._lock:
            self._open(time.strftime("%Y-%m-%d"))
            data = (b"\n" if self._torn else b"") + text.encode()
            written = os.write(self._file, data)
            self._torn = written < len(data)
            if self._torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))

    def close(self) -> None:
        """Closes the file; appending opens it again."""
        with self._lock:
            self._close()

    def _open(self, day: str) -> None:
        if day == self._day and os.fstat(self._file).st_nlink:  # none: somebody removed the file
            return
        self._close()
        path = self._folder / f"{day}{SUFFIX}"
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._day = day
        size = os.fstat(self._file).st_size
        self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"

    def _close(self) -> None:
        if self._day:
            os.close(self._file)
        self._day = ""


class LogObserver:
    """An observer of the development server; what only explains or describes images is not noted."""

    def __init__(self, log: RequestLog) -> None:
        self._log = log

    def observe(self, request_record: RequestRecord) -> None:
        """Notes each image of a request."""
        if request_record.signature != schema_names.SERVING_SIGNATURE:
            return
        for image, answer in zip(request_record.images, request_record.answers, strict=True):
            prediction = _prediction(answer, version=request_record.version)
            self._log.note(image, prediction, patient=request_record.patient)


def _prediction(answer: Any, *, version: int) -> Prediction:
    return Prediction(
        label=answer[schema_names.PREDICTED_LABEL],
        score=answer[schema_names.SCORE],
        probabilities=dict(
            zip(answer[schema_names.CLASSES], answer[schema_names.PROBABILITIES], strict=True)
        ),
        model_version=version,
        in_distribution=answer[schema_names.IN_DISTRIBUTION],
        reasons=tuple(filter(None, answer[schema_names.REASONS])),
        distance=answer[schema_names.DISTANCE],
    )


_PNG = b"\x89PNG"


def keep_image(folder: Path, content: bytes, *, sha256: str) -> Path:
    """Write an image once, atomically, under its hash; only the owner can read it."""
    path = folder / f"{sha256}{'.png' if content.startswith(_PNG) else '.jpg'}"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_write(path, content, mode=0o600)
    return path


@dataclass(frozen=True)
class Measured:
    """The features of an ingested example that a served image has too; or the reason why it has none."""

    values: dict[str, float] = field(default_factory=dict)  # by feature: width, height and IMAGE_SCALARS
    unusable: str | None = None


def measure_image(content: bytes) -> Measured:
    """Decodes and measures an image file with ingestion's own functions.

    A model may answer for images that ingestion would have refused, such as grey ones: nothing in the
    training data compares with these.
    """
    try:
        pixels = examine(content).pixels
    except UnusableError as error:
        return Measured(unusable=str(error))
    height, width, _ = pixels.shape
    return Measured({schema_names.WIDTH: width, schema_names.HEIGHT: height, **image_scalars(pixels)})


KEY_VARIABLE: Final = "KNET_LOG_KEY"
_LEAST = 16  # bytes: accessions are few, so a short key could be found by trying all of them


def pseudonym(patient: str, *, key: bytes) -> str:
    """HMAC-SHA-256 of a patient's name or accession, in hexadecimal: the same patient, the same text."""
    return hmac.new(key, patient.encode(), hashlib.sha256).hexdigest()


def read_key(file: Path | None = None) -> bytes | None:
    """The key in a file, else in the environment variable KNET_LOG_KEY; None where neither is given.

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
    if len(key) < _LEAST:
        raise UserError(
            f"{where}: the key of the request log must have {_LEAST} bytes or more; "
            "make one with: openssl rand -hex 32"
        )
    return key
