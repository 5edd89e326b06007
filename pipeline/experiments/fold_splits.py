"""The transformed images of one fold."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.dataset import TransformedSplit


@dataclass(frozen=True)
class FoldSplits:
    """Three sets of images with no patient in common."""

    train: TransformedSplit
    validation: TransformedSplit
    test: TransformedSplit
