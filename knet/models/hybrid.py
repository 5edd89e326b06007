"""The paper's hybrid model LSTM-KNet: a backbone with a CNN branch and an LSTM branch; its FLOPs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from knet.models.backbones import build_backbone, find_backbone
from knet.models.batch_normalization import fuse_batch_normalization
from knet.models.imagenet import IMAGENET, WantedWeights, imagenet_weights
from knet.models.images import GlobalContrastNormalization
from knet.models.optimizer import AccumulatingModel
from knet.models.stain import STAIN_NORMALISATIONS

# Names of layers.
PREPROCESSING = "preprocessing"
STAIN_NORMALIZATION = "stain_normalization"  # in PREPROCESSING, if it is configured
BACKBONE = "backbone"
HEAD = "head"
PENULTIMATE = "head_dense"  # in HEAD
LOGITS = "logits"  # in HEAD


def build_hybrid_model(
    backbone: str,
    *,
    candidate: str,
    size: int,
    weights: str | None,
    alpha: float | None,
    normalisation: str,
    pixel_mean: Sequence[float],
    pixel_std: Sequence[float],
    batch_norm_momentum: float,
    stain_normalisation: str = "none",
    stain_reference: Sequence[float] | None = None,
    **head: Any,
) -> HybridModel:
    """Build LSTM-KNet on a backbone (Dsouza & Ansari, 2022).

    Args:
        backbone: name or import path, as of `find_backbone`.
        candidate: name of the model, for its layers' and error messages' paths.
        size: height and width of the input, pixels.
        weights: `imagenet`, the path of a weights file without top, or None for random weights.
        alpha: width multiplier of MobileNet; None for other backbones.
        normalisation: `image`, `backbone` or `dataset` (see `ImageConfig`).
        pixel_mean: RGB means of the training images, [3], 0 to 255, for `dataset`.
        pixel_std: RGB standard deviations of the training images, [3], for `dataset`.
        batch_norm_momentum: of every batch normalization.
        stain_normalisation: `none`, `macenko` or `reinhard`.
        stain_reference: from `fit_stain_reference`; None if weights will be loaded.
        **head: arguments of `build_hybrid_head`.

    Returns:
        A model from RGB [batch, size, size, 3], 0 to 255, to probabilities [batch, classes].
        Its layers `preprocessing`, `backbone` and `head` are models.

    Raises:
        UserError: the weights are missing or do not fit the backbone.
    """
    pixels = keras.Input((size, size, 3), name="pixels", dtype="float32")
    stained = pixels
    if stain_normalisation != "none":
        stained = STAIN_NORMALISATIONS[stain_normalisation](stain_reference, name=STAIN_NORMALIZATION)(pixels)
    normalised = {
        "image": GlobalContrastNormalization(dtype="float32"),
        "backbone": find_backbone(backbone, candidate=candidate).scale,
        "dataset": layers.Normalization(
            mean=list(pixel_mean), variance=[s * s for s in pixel_std], dtype="float32"
        ),
    }[normalisation](stained)
    preprocessing = keras.Model(pixels, normalised, name=PREPROCESSING)
    features = _build_backbone(backbone, candidate=candidate, size=size, weights=weights, alpha=alpha)
    fuse_batch_normalization(features, momentum=batch_norm_momentum)
    classifier = build_hybrid_head(features.output_shape[1:], batch_norm_momentum=batch_norm_momentum, **head)
    probabilities = classifier(features(preprocessing(pixels)))
    return HybridModel(pixels, probabilities, name=f"knet_{candidate}")


@keras.saving.register_keras_serializable("knet")
class HybridModel(AccumulatingModel):
    """LSTM-KNet, whose evaluation, calibration and export share one traced function of the backbone."""

    @cached_property
    def extract_features(self) -> Any:
        """tf.function from RGB float32 [batch, size, size, 3], 0 to 255, to the backbone's feature maps."""
        preprocessing, backbone = self.get_layer(PREPROCESSING), self.get_layer(BACKBONE)

        @tf.function(input_signature=[tf.TensorSpec(self.input_shape, tf.float32)], autograph=False)
        def extract_features(pixels: Any) -> Any:
            return backbone(preprocessing(pixels), training=False)

        return extract_features

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return the probabilities, [batch, classes]."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if training is False and replicas == 1 and tf.is_tensor(inputs):
            feature_map = self.extract_features(tf.cast(inputs, tf.float32))
            return self.get_layer(HEAD)(feature_map, training=False)
        return super().call(inputs, training=training, mask=mask)


def _build_backbone(
    backbone: str, *, candidate: str, size: int, weights: str | None, alpha: float | None
) -> keras.Model:
    if weights == "imagenet" and backbone in IMAGENET:
        weights = str(imagenet_weights(candidate, WantedWeights(backbone, alpha, size)))
    model = build_backbone(backbone, candidate=candidate, size=size, weights=weights, alpha=alpha)
    return keras.Model(model.input, model.output, name=BACKBONE)


def build_hybrid_head(
    feature_map: tuple[int, int, int],
    *,
    classes: int,
    variant: str,
    sequence_length: int,
    lstm_units: int,
    dense_units: int,
    dropout: float,
    batch_norm_momentum: float,
    synchronized: bool,
) -> keras.Model:
    """Build the head on a backbone (Dsouza & Ansari, 2022; LSTM: equations 4 to 8).

    Args:
        feature_map: shape of the backbone's output: rows, columns, channels.
        classes: number of classes, two or more.
        variant: `parallel`, CNN branch beside LSTM branch; `serial`, LSTM branch alone; or `none`, CNN branch
            alone.
        sequence_length: tokens, the same for all candidates; at least rows * columns.
        lstm_units: units of the LSTM.
        dense_units: units of each of the two fully connected layers.
        dropout: rate before the second of them.
        batch_norm_momentum: of its batch normalization.
        synchronized: whether batch normalization computes its statistics over all replicas.

    Returns:
        A model named `head` from [batch, rows, columns, channels] to probabilities [batch, classes], float32,
        in the order of the labels. The output of its layer `logits` is [batch, classes] before the softmax,
        that of `head_dense` the embedding [batch, dense_units].
    """
    inputs = keras.Input(feature_map, name="feature_map")
    branches: list[Any] = []
    if variant in ("parallel", "none"):
        pooled = layers.GlobalAveragePooling2D()(inputs)
        branches.append(layers.Dense(dense_units, activation="relu", name="cnn_branch")(pooled))
    if variant in ("parallel", "serial"):
        tokens, mask = RasterTokens(length=sequence_length, name="tokens")(inputs)
        # A SavedModel with the cuDNN kernel cannot be loaded without a GPU.
        branches.append(layers.LSTM(lstm_units, use_cudnn=False, name="lstm_branch")(tokens, mask=mask))
    joined = layers.Concatenate()(branches) if len(branches) > 1 else branches[0]
    joined = layers.BatchNormalization(
        momentum=batch_norm_momentum, synchronized=synchronized, name="head_normalisation"
    )(joined)
    joined = layers.Dropout(dropout)(joined)
    joined = layers.Dense(dense_units, activation="relu", name=PENULTIMATE)(joined)
    logits = layers.Dense(classes, dtype="float32", name=LOGITS)(joined)
    probabilities = layers.Activation("softmax", dtype="float32", name="probabilities")(logits)
    return keras.Model(inputs, probabilities, name=HEAD)


@keras.saving.register_keras_serializable("knet")
class RasterTokens(keras.layers.Layer):
    """Turn a feature map into a sequence of tokens in raster order, right-padded to `length`.

    The mask is explicit because a token of a ReLU network may be all zeros (keras.layers.Masking would drop
    it).

    Input: [batch, rows, columns, channels]. Output: tokens [batch, length, channels], zeros after
    rows * columns, and a boolean mask [batch, length], true for tokens of the feature map.
    """

    def __init__(self, *, length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length

    def call(self, feature_map: Any) -> tuple[Any, Any]:
        """Return tokens and mask."""
        _, rows, columns, channels = feature_map.shape
        tokens = ops.reshape(feature_map, (-1, rows * columns, channels))
        tokens = ops.pad(tokens, [(0, 0), (0, self.length - rows * columns), (0, 0)])
        present = ops.arange(self.length) < rows * columns
        mask = ops.broadcast_to(present[None, :], (ops.shape(feature_map)[0], self.length))
        return tokens, mask

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "length": self.length}


def count_flops(model: keras.Model) -> int:
    """Count the floating-point operations of a forward pass of one image; a multiply-add is two.

    Convolutions, fully connected layers and LSTMs are counted, the latter at every token of the padded
    sequence. Other layers, such as normalization and pooling, are about a hundredth.

    Args:
        model: a functional model, channels last, of fixed sizes; nested models are counted too.
    """
    return sum(_layer_flops(layer) for layer in model.layers)


# Layers whose kernel is applied at every position of the output.
_KERNELS = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)


def _layer_flops(layer: keras.Layer) -> int:
    if isinstance(layer, keras.Model):
        return count_flops(layer)
    if isinstance(layer, _KERNELS):
        positions = math.prod(layer.output.shape[1:-1])
        return 2 * positions * math.prod(layer.kernel.shape)
    if isinstance(layer, layers.LSTM):
        tokens = keras.tree.flatten(layer.input)[0].shape[1]
        return 2 * tokens * sum(math.prod(w.shape) for w in (layer.cell.kernel, layer.cell.recurrent_kernel))
    return 0
