"""Makes what follows reproducible."""

from __future__ import annotations

import keras


def start_from_seed(seed: int) -> None:
    """The same records and settings then give the same weights on the same machine."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
