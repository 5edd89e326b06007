"""Fine-tuning: trainable blocks, stages that unfreeze them from the top, and the split below them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import keras

from knet.base.progress import PROGRESS
from knet.models.backbones import Block, backbone_blocks
from knet.models.callbacks import EarlyStopping
from knet.models.hybrid import BACKBONE, HEAD, PREPROCESSING
from knet.models.optimizer import AccumulatingModel


class StagedFineTuning(EarlyStopping):
    """Train the head alone in the first stage, and unfreeze one block more in every further stage.

    It is early stopping too: its patience starts with the last stage, its best weights may be of any stage.
    """

    def __init__(self, backbone: str, *, stage_epochs: int, **stopping: Any) -> None:
        """Create the callback.

        Args:
            backbone: name or import path, as of `find_backbone`.
            stage_epochs: length of a stage, epochs.
            **stopping: arguments of `EarlyStopping`.
        """
        super().__init__(**stopping)
        self._backbone = backbone
        self._stage_epochs = stage_epochs
        self._unfrozen: int | None = None  # blocks

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Warn if there are too few epochs for all stages."""
        super().on_train_begin(logs)
        self._unfrozen = None
        if self.params["epochs"] <= self._last_stage:
            logging.getLogger(PROGRESS).warning(
                "%d epochs do not reach all %d stages of %s, which take %d",
                self.params["epochs"],
                len(self._blocks) + 1,
                self._backbone,
                self._last_stage + 1,
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Unfreeze the block of a new stage, and trace the training step again."""
        count = min(epoch // self._stage_epochs, len(self._blocks))
        if count != self._unfrozen:
            unfreeze_top_blocks(self._blocks, count)
            self.model.make_train_function(force=True)
            self._unfrozen = count

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the best weights; stop after `patience` epochs without improvement in the last stage."""
        if epoch < self._last_stage:
            self.wait = -1  # so that it is 0 after this epoch
        super().on_epoch_end(epoch, logs)

    @property
    def _blocks(self) -> tuple[Block, ...]:
        return backbone_blocks(self._backbone, self.model.get_layer(BACKBONE))

    @property
    def _last_stage(self) -> int:
        """First epoch of the last stage, from 0."""
        return len(self._blocks) * self._stage_epochs


def unfreeze_top_blocks(blocks: Sequence[Block], count: int) -> None:
    """Make the topmost `count` blocks trainable, and freeze the others.

    Keras runs a frozen batch normalization in inference mode, in training too.

    Args:
        blocks: of a backbone, from input to output.
        count: trainable blocks; more than there are: all.
    """
    for depth, block in enumerate(reversed(blocks)):
        for layer in block.layers:
            layer.trainable = depth < count


def split_model(
    model: keras.Model, backbone: str, *, trainable_blocks: int
) -> tuple[keras.Model, AccumulatingModel]:
    """Split a hybrid model below the trainable blocks of its backbone; the parts share its weights.

    Args:
        model: from `build_hybrid_model`.
        backbone: name or import path, as of `find_backbone`.
        trainable_blocks: topmost blocks of the trainable part; fewer than the backbone has.

    Returns:
        The frozen part, from pixels to the feature map at the split, and the trainable part, from there to
        the probabilities. Training the latter trains the model.
    """
    lower, upper = split_backbone(backbone, model.get_layer(BACKBONE), trainable_blocks=trainable_blocks)
    frozen = keras.Model(model.input, lower(model.get_layer(PREPROCESSING)(model.input)), name="frozen")
    feature_map = keras.Input(lower.output_shape[1:], name="feature_map", dtype="float32")
    trainable = AccumulatingModel(
        feature_map, model.get_layer(HEAD)(upper(feature_map)), name=f"{model.name}_trainable"
    )
    return frozen, trainable


def split_backbone(
    name: str, backbone: keras.Model, *, trainable_blocks: int
) -> tuple[keras.Model, keras.Model]:
    """Split a backbone below its topmost blocks; the parts share its layers and weights.

    Args:
        name: name or import path, as of `find_backbone`.
        backbone: built by that entry.
        trainable_blocks: blocks of the upper part; fewer than the backbone has.

    Returns:
        The lower part, from the backbone's input to the feature map at the split, and the upper part, from
        there to the backbone's output; without trainable blocks the identity.
    """
    blocks = backbone_blocks(name, backbone)
    cut = blocks[len(blocks) - trainable_blocks - 1].layers[-1].output
    above = backbone.output if trainable_blocks else keras.layers.Identity()(cut)
    return keras.Model(backbone.input, cut, name="lower"), keras.Model(cut, above, name="upper")
