"""The learning rate falls in steps of an epoch's images."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.models.staircase_decay import StaircaseDecay


@pytest.mark.parametrize(("batch", "images"), [(4, 20), (3, 10), (500, 16_359)])
def test_it_is_the_paper_s_equation(batch: int, images: int) -> None:
    decay = StaircaseDecay(rate=0.1, gamma=0.95, batch=batch, images=images)
    updates = np.array([0, 1, 4, 5, 9, 10, 32, 33, 330])
    expected = 0.1 * 0.95 ** np.floor(updates * batch / images)
    np.testing.assert_allclose([float(decay(update)) for update in updates], expected, rtol=1e-5)


def test_after_a_hundred_epochs_it_is_what_the_protocol_says() -> None:
    decay = StaircaseDecay(rate=0.001, gamma=0.95, batch=500, images=15_000)
    np.testing.assert_allclose(float(decay(100 * 30)), 5.9e-6, rtol=0.01)
