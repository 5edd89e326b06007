"""Notes what the development server answers in a request log."""

from __future__ import annotations

from typing import Any

from pipeline import features
from serving.dev_server.observer import RequestRecord
from serving.monitoring.request_log import RequestLog
from serving.prediction import Prediction


class LogObserver:
    """An observer of the development server; what only explains or describes images is not noted."""

    def __init__(self, log: RequestLog) -> None:
        self._log = log

    def observe(self, request_record: RequestRecord) -> None:
        """Notes each image of a request."""
        if request_record.signature != features.SERVING_SIGNATURE:
            return
        for image, answer in zip(request_record.images, request_record.answers, strict=True):
            prediction = _prediction(answer, version=request_record.version)
            self._log.note(image, prediction, patient=request_record.patient)


def _prediction(answer: Any, *, version: int) -> Prediction:
    return Prediction(
        label=answer[features.PREDICTED_LABEL],
        score=answer[features.SCORE],
        probabilities=dict(zip(answer[features.CLASSES], answer[features.PROBABILITIES], strict=True)),
        model_version=version,
        in_distribution=answer[features.IN_DISTRIBUTION],
        reasons=tuple(filter(None, answer[features.REASONS])),
        distance=answer[features.DISTANCE],
    )
