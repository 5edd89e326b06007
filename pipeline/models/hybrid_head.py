"""The paper's head: a CNN branch beside an LSTM branch over one feature map, and its ablations."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from pipeline.models.raster_tokens import RasterTokens

HEAD = "head"
PENULTIMATE = "head_dense"
LOGITS = "logits"


def build_hybrid_head(
    feature_map: tuple[int, int, int],
    *,
    variant: str,
    sequence_length: int,
    lstm_units: int,
    dense_units: int,
    dropout: float,
    batch_norm_momentum: float,
    synchronized: bool,
) -> keras.Model:
    """Builds what stands on a backbone (Dsouza & Ansari, 2022; LSTM as in eqs 4-8).

    Args:
        feature_map: rows, columns and channels of the backbone's output.
        variant: `parallel`, CNN branch beside LSTM branch; `serial`, the LSTM alone on the feature map; or
            `none`, the CNN branch alone.
        sequence_length: tokens, common to all candidates; at least rows * columns.
        lstm_units: width of the LSTM.
        dense_units: width of each of the two fully connected layers.
        dropout: share of features dropped before the second of them.
        batch_norm_momentum: of its batch normalisation.
        synchronized: whether that takes its statistics over all replicas.

    Returns:
        A model named `head` from [batch, rows, columns, channels] to probabilities [batch, 2], float32,
        the positive class second; its layer `logits` is what they are the softmax of, `head_dense` the
        penultimate vector.
    """
    inputs = keras.Input(feature_map, name="feature_map")
    branches: list[Any] = []
    if variant in ("parallel", "none"):
        pooled = layers.GlobalAveragePooling2D()(inputs)
        branches.append(layers.Dense(dense_units, activation="relu", name="cnn_branch")(pooled))
    if variant in ("parallel", "serial"):
        tokens, mask = RasterTokens(length=sequence_length, name="tokens")(inputs)
        # The cuDNN kernel would be exported, and could then not be loaded where there is no GPU.
        branches.append(layers.LSTM(lstm_units, use_cudnn=False, name="lstm_branch")(tokens, mask=mask))
    joined = layers.Concatenate()(branches) if len(branches) > 1 else branches[0]
    joined = layers.BatchNormalization(
        momentum=batch_norm_momentum, synchronized=synchronized, name="head_normalisation"
    )(joined)
    joined = layers.Dropout(dropout)(joined)
    joined = layers.Dense(dense_units, activation="relu", name=PENULTIMATE)(joined)
    logits = layers.Dense(2, dtype="float32", name=LOGITS)(joined)
    probabilities = layers.Activation("softmax", dtype="float32", name="probabilities")(logits)
    return keras.Model(inputs, probabilities, name=HEAD)
