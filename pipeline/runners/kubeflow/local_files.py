"""TFX's access to local files, as TensorFlow's is."""

from __future__ import annotations

import io
from typing import Any

from tfx.dsl.io.plugins.local import LocalFilesystem


class LocalFiles(LocalFilesystem):
    """Takes texts where bytes are written, as TensorFlow does: TFX's value artifacts count on it."""

    @staticmethod
    def open(name: Any, mode: str = "r") -> Any:
        """The open file."""
        if mode == "wb":
            return _Writer(io.FileIO(name, "wb"))
        return LocalFilesystem.open(name, mode)


class _Writer(io.BufferedWriter):
    def write(self, content: Any) -> int:
        return super().write(content.encode() if isinstance(content, str) else content)
