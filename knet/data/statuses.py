"""Ingest statuses on disk: what became of each image, in files that workers write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from knet.base import schema_names
from knet.data.ingest import ingest_status
from knet.data.source import ImageFile

_ROW: Final = np.dtype(
    [
        ("index", np.int64),  # of the image in the catalog
        ("read", np.bool_),  # whether the file could be read
        ("usable", np.bool_),
        ("sha256", "V32"),  # of the file
        ("pixels", "V32"),  # hash of size and pixels
        ("scalars", np.float64, (len(schema_names.IMAGE_SCALARS),)),
    ]
)
_NO_SCALARS: Final = dict.fromkeys(schema_names.IMAGE_SCALARS, 0.0)
_BLOCK: Final = 2**14  # rows in memory


class ShardStatuses:
    """The statuses of the images of one shard, without the reasons of unusable ones."""

    def __init__(self) -> None:
        """Create an empty list."""
        self._rows: list[tuple[Any, ...]] = []

    def add(
        self,
        index: int,
        *,
        sha256: str | None = None,
        pixels: str | None = None,
        scalars: Mapping[str, float] = _NO_SCALARS,
    ) -> None:
        """Add an image.

        Args:
            index: Index of the image in the catalog.
            sha256: SHA-256 of the file, in hexadecimal; None if it could not be read.
            pixels: Hash of the pixels, in hexadecimal; None if the image is unusable.
            scalars: Scalars of the pixels, in the order of `IMAGE_SCALARS`.
        """
        digests = (bytes.fromhex(digest) if digest else bytes(32) for digest in (sha256, pixels))
        self._rows.append((index, bool(sha256), bool(pixels), *digests, tuple(scalars.values())))

    def write(self, file: Path) -> None:
        """Write the statuses to a file, atomically."""
        part = file.with_name(f".{file.name}.{os.getpid()}")
        np.array(self._rows, _ROW).tofile(part)
        part.replace(file)


def collect_statuses(files: Iterable[Path], file: Path) -> None:
    """Write the statuses of all shards to one file, in the order of the catalog."""
    with file.open("wb") as collected:
        for shard in files:
            for row in np.fromfile(shard, _ROW):
                os.pwrite(collected.fileno(), row.tobytes(), row["index"] * _ROW.itemsize)


@dataclass(frozen=True)
class IngestStatuses:
    """The `ingest_status` of each image, in the order of the catalog; each use reads them from disk."""

    images: Iterable[ImageFile]
    split_of: Callable[[ImageFile], str]
    file: Path  # of `collect_statuses`
    reasons: Mapping[int, str]  # by index, of unusable images

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for index, (image, row) in enumerate(zip(self.images, self._rows(), strict=True)):
            if row["index"] != index or not (row["usable"] or index in self.reasons):
                raise RuntimeError(f"{image.path}: no worker ingested it")
            outcome: dict[str, Any] = {"sha256": row["sha256"].tobytes().hex()} if row["read"] else {}
            if row["usable"]:
                scalars = zip(schema_names.IMAGE_SCALARS, row["scalars"].tolist(), strict=True)
                outcome |= {"pixels": row["pixels"].tobytes().hex(), "scalars": dict(scalars)}
            else:
                outcome["reason"] = self.reasons[index]
            yield ingest_status(image, self.split_of(image), **outcome)

    def _rows(self) -> Iterator[Any]:
        with self.file.open("rb") as file:
            while len(block := np.fromfile(file, _ROW, _BLOCK)):
                yield from block
