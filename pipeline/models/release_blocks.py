"""Chooses which blocks of a backbone learn."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.models.backbones import Block


def release_blocks(blocks: Sequence[Block], count: int) -> None:
    """Lets the topmost `count` blocks learn (all, where there are fewer) and freezes the others.

    Keras keeps a frozen batch normalisation in inference mode, in training too.
    """
    for depth, block in enumerate(reversed(blocks)):
        for layer in block.layers:
            layer.trainable = depth < count
