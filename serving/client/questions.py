"""What can be asked about an image: the signature of the model, and how to read its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipeline import features
from serving.client.explanation import Explanation
from serving.client.tensors import booleans, floats, rows, texts
from serving.prediction import Prediction

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Question(Generic[Answer]):
    """A signature that takes images, and what makes answers of its response."""

    signature: str
    read: Callable[[Any], list[Answer]]


def _predictions(response: Any) -> list[Prediction]:
    labels = texts(response.outputs[features.PREDICTED_LABEL])
    count = len(labels)
    # A version from before models said so has none.
    thresholds = floats(response.outputs[features.THRESHOLD]) or (None,) * count
    return [
        Prediction(
            label=label,
            score=score,
            probabilities=dict(zip(names, row, strict=True)),
            model_version=response.model_spec.version.value,
            in_distribution=verdict,
            reasons=tuple(filter(None, why)),
            distance=distance,
            threshold=threshold,
        )
        for label, score, names, row, verdict, why, distance, threshold in zip(
            labels,
            floats(response.outputs[features.SCORE]),
            rows(texts(response.outputs[features.CLASSES]), count=count),
            rows(floats(response.outputs[features.PROBABILITIES]), count=count),
            booleans(response.outputs[features.IN_DISTRIBUTION]),
            rows(texts(response.outputs[features.REASONS]), count=count),
            floats(response.outputs[features.DISTANCE]),
            thresholds,
            strict=True,
        )
    ]


def _explanations(response: Any) -> list[Explanation]:
    labels = texts(response.outputs[features.PREDICTED_LABEL])
    heat = response.outputs[features.HEAT_MAP]
    height, version = heat.tensor_shape.dim[1].size, response.model_spec.version.value
    return [
        Explanation(label, score, tuple(map(tuple, rows(one, count=height))), version)
        for label, score, one in zip(
            labels,
            floats(response.outputs[features.SCORE]),
            rows(floats(heat), count=len(labels)),
            strict=True,
        )
    ]


PREDICT = Question(features.SERVING_SIGNATURE, _predictions)
EXPLAIN = Question(features.EXPLAIN_SIGNATURE, _explanations)
