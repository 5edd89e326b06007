"""Environment variables of a process and its children that a run needs, whatever the user's."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def set_environment() -> None:
    """Select Keras 3 on TensorFlow before Keras is imported, and name a home folder if there is none.

    Variables of the user that would select another backend, or shorten every training, have no effect.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "0"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for name in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"):
        os.environ.pop(name, None)
    try:
        Path.home()
    except RuntimeError:  # no HOME, and no user of this number: libraries fail on import
        os.environ["HOME"] = tempfile.gettempdir()
