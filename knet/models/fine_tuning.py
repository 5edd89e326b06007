"""Fine-tunes a backbone block by block, from the head downwards."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import keras

from knet.base.progress import PROGRESS
from knet.models.backbones import Block, blocks_of
from knet.models.hybrid import BACKBONE, HEAD, PREPROCESSING
from knet.models.optimizer import AccumulatingModel


class StagedFineTuning(keras.callbacks.EarlyStopping):
    """Trains the head alone in the first stage, and releases one block more in each of the others.

    It is the early stopping too, which may not stop before the last stage: its patience begins there. The
    best weights are those of all stages.
    """

    def __init__(self, backbone: str, *, stage_epochs: int, **stopping: Any) -> None:
        """Names the backbone and the epochs of a stage; the rest is of `keras.callbacks.EarlyStopping`."""
        super().__init__(**stopping)
        self._backbone = backbone
        self._stage_epochs = stage_epochs
        self._released: int | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Says so where there are too few epochs for all stages."""
        super().on_train_begin(logs)
        self._released = None
        if self.params["epochs"] <= self._last_stage:
            logging.getLogger(PROGRESS).warning(
                "%d epochs do not reach all %d stages of %s, which take %d",
                self.params["epochs"],
                len(self._blocks) + 1,
                self._backbone,
                self._last_stage + 1,
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Releases what this epoch's stage adds; the training step is traced anew then."""
        count = min(epoch // self._stage_epochs, len(self._blocks))
        if count != self._released:
            unfreeze_top_blocks(self._blocks, count)
            self.model.make_train_function(force=True)
            self._released = count

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the best weights, and stops where patience is at an end in the last stage."""
        stopped = self.model.stop_training  # for a reason of another callback
        super().on_epoch_end(epoch, logs)
        if epoch < self._last_stage:
            self.wait = 0
            self.model.stop_training = stopped

    @property
    def _blocks(self) -> tuple[Block, ...]:
        return blocks_of(self._backbone, self.model.get_layer(BACKBONE))

    @property
    def _last_stage(self) -> int:
        """The epoch in which it begins, from 0."""
        return len(self._blocks) * self._stage_epochs


def unfreeze_top_blocks(blocks: Sequence[Block], count: int) -> None:
    """Lets the topmost `count` blocks learn (all, where there are fewer) and freezes the others.

    Keras keeps a frozen batch normalisation in inference mode, in training too.
    """
    for depth, block in enumerate(reversed(blocks)):
        for layer in block.layers:
            layer.trainable = depth < count


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


def divide_model(
    model: keras.Model, backbone: str, *, upper_blocks: int
) -> tuple[keras.Model, AccumulatingModel]:
    """Cuts a hybrid model below the topmost blocks of its backbone; the parts share its layers and weights.

    Args:
        model: as `build_hybrid_model` returns it.
        backbone: its name.
        upper_blocks: how many blocks learn; below the number that it has.

    Returns:
        The frozen part, from pixels as the model takes them to the feature map at the cut, and the part that
        learns, from there to the probabilities. What the latter learns, the model has learnt.
    """
    lower, upper = split_backbone(backbone, model.get_layer(BACKBONE), upper_blocks=upper_blocks)
    frozen = keras.Model(model.input, lower(model.get_layer(PREPROCESSING)(model.input)), name="frozen")
    feature_map = keras.Input(lower.output_shape[1:], name="feature_map", dtype="float32")
    learning = AccumulatingModel(
        feature_map, model.get_layer(HEAD)(upper(feature_map)), name=f"{model.name}_above"
    )
    return frozen, learning
