"""Tokens keep the raster order, and the mask marks exactly the genuine ones."""

from __future__ import annotations

import numpy as np

from pipeline.models.raster_tokens import RasterTokens


def test_tokens_are_read_row_by_row_and_padded_right() -> None:
    feature_map = np.arange(2 * 2 * 3 * 4, dtype="float32").reshape(2, 2, 3, 4)
    tokens, mask = RasterTokens(length=8)(feature_map)
    np.testing.assert_array_equal(tokens[:, :6], feature_map.reshape(2, 6, 4))
    np.testing.assert_array_equal(tokens[:, 6:], 0)
    np.testing.assert_array_equal(mask, [[True] * 6 + [False] * 2] * 2)


def test_genuine_tokens_of_zeros_are_not_masked() -> None:
    _, mask = RasterTokens(length=4)(np.zeros((1, 2, 2, 3), dtype="float32"))
    assert np.all(mask)
