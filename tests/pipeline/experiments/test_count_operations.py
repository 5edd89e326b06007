"""Operations are those that are published for known networks."""

from __future__ import annotations

import keras
import pytest

from pipeline.experiments.count_operations import count_operations
from pipeline.models.hybrid_head import build_hybrid_head


# Howard et al. (2017), table 8; He et al. (2016), table 1, and Simonyan & Zisserman's VGG16 as it gives it.
@pytest.mark.parametrize(
    ("build", "published"),
    [
        (keras.applications.MobileNet, 569e6),
        (keras.applications.ResNet50, 3.8e9),
        (keras.applications.VGG16, 15.3e9),
    ],
)
def test_operations_are_the_published_ones(build: type[keras.Model], published: float) -> None:
    model = build(weights=None, include_top=False, input_shape=(224, 224, 3))
    assert count_operations(model) == pytest.approx(published, rel=0.03)


def test_the_head_s_matrices_count() -> None:
    head = build_hybrid_head(
        (7, 7, 16),
        variant="parallel",
        sequence_length=64,
        lstm_units=4,
        dense_units=8,
        dropout=0.5,
        batch_norm_momentum=0.9,
        synchronized=False,
    )
    dense = 16 * 8 + (8 + 4) * 8 + 8 * 2
    assert count_operations(head) == dense + 64 * (16 + 4) * 4 * 4
