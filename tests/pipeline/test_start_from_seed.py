"""The same seed gives the same weights and names, whatever was built before."""

from __future__ import annotations

import keras
import numpy as np

from pipeline.start_from_seed import start_from_seed


def test_what_is_built_follows_the_seed_alone() -> None:
    built = []
    for seed in (0, 0, 1):
        start_from_seed(seed)
        layer = keras.layers.Dense(3)
        layer.build((None, 2))
        built.append((layer.name, np.asarray(layer.kernel)))
    assert {name for name, _ in built} == {"dense"}
    np.testing.assert_array_equal(built[0][1], built[1][1])
    assert not np.array_equal(built[0][1], built[2][1])
