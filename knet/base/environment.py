"""Environment variables of a process and its children that a run needs, whatever the user's."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_WITHOUT_EFFECT = (
    *("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"),
    *("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS"),
)


def set_environment() -> None:
    """Select Keras 3 on TensorFlow before Keras is imported, and name a home folder if there is none.

    Variables of the user that would select another backend, shorten every training, or let TensorFlow compute
    otherwise, have no effect.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "0"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for name in _WITHOUT_EFFECT:
        os.environ.pop(name, None)
    try:
        Path.home()
    except RuntimeError:  # no HOME, and no user of this number: libraries fail on import
        os.environ["HOME"] = tempfile.gettempdir()
