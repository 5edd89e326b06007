"""Divides a backbone into what stays frozen and what learns."""

from __future__ import annotations

import keras

from pipeline.models.backbones import blocks_of


def split_backbone(name: str, body: keras.Model, *, upper_blocks: int) -> tuple[keras.Model, keras.Model]:
    """Cuts a backbone below its topmost blocks; the parts share its layers and weights.

    Args:
        name: of the backbone.
        body: it, as built.
        upper_blocks: how many blocks are in the upper part; below the number that it has.

    Returns:
        The lower part, from the backbone's input to the feature map at the cut, and the upper part, from
        there to the backbone's output. Without upper blocks the latter hands on what it is given.
    """
    blocks = blocks_of(name, body)
    cut = blocks[len(blocks) - upper_blocks - 1].layers[-1].output
    above = body.output if upper_blocks else keras.layers.Identity()(cut)
    return keras.Model(body.input, cut, name="lower"), keras.Model(cut, above, name="upper")
