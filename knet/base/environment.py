"""Environment variables that must not depend on the user's: Keras's version and backend."""

from __future__ import annotations

import os


def set_keras_environment() -> None:
    """Select Keras 3 on TensorFlow in this process and its children, before Keras is imported.

    Variables of the user that would select another backend, or shorten every training, have no effect.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "0"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for name in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"):
        os.environ.pop(name, None)
