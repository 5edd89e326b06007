"""Linear probe: a logistic regression on the averaged feature maps of a frozen backbone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from knet.models.fine_tuning import split_model
from knet.models.images import decode_images
from knet.training.candidate import Candidate
from knet.training.dataset import TransformedSplit
from knet.training.devices import start_from_seed
from knet.training.feature_cache import cache_split

C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_BATCH_SIZE = 32  # of inference

LabeledEmbeddings = tuple[np.ndarray, np.ndarray]  # float [images, channels], class indices [images]


@dataclass(frozen=True)
class ProbeResult:
    """Result of a linear probe.

    Attributes:
        c: inverse strength of the L2 penalty with the lowest log loss on the validation images.
        losses: that log loss for each C.
        probabilities: of the test images, float [images, classes].
        external: of the external images, float [images, classes]; None without such images.
    """

    c: float
    losses: dict[float, float]
    probabilities: np.ndarray
    external: np.ndarray | None = None


def train_probe(
    candidate: Candidate,
    *,
    train: TransformedSplit,
    validation: TransformedSplit,
    test: TransformedSplit,
    cache_root: Path,
    external: Iterable[Sequence[bytes]] = (),
) -> ProbeResult:
    """Fit a linear probe to the averaged feature maps of a candidate's frozen backbone.

    Args:
        candidate: model whose backbone is used.
        train: training images with the candidate's offline augmentations.
        validation: images that choose C.
        test: images to predict.
        cache_root: folder for cached feature maps.
        external: batches of further images to predict, PNG or JPEG.
    """
    start_from_seed(candidate.seed)
    model = candidate.model(pixel_statistics=train.pixel_statistics())
    frozen, _ = split_model(model, candidate.backbone, trainable_blocks=0)

    def embed(split: TransformedSplit) -> LabeledEmbeddings:
        maps = cache_split(split, frozen, root=cache_root, batch_size=_BATCH_SIZE)
        pairs = [
            (_average(batch), labels)
            for batch, labels in maps.batches(batch_size=_BATCH_SIZE).as_numpy_iterator()
        ]
        embeddings, labels = zip(*pairs, strict=True)
        return np.concatenate(embeddings), np.concatenate(labels)

    # Feature maps are rounded to float16 as those of a cache are.
    def embed_files(files: Sequence[bytes]) -> np.ndarray:
        pixels = decode_images(tf.constant(files), size=candidate.image.size)
        return _average(frozen(pixels, training=False).numpy().astype("float16"))

    tested, _ = embed(test)
    embeddings = np.concatenate([tested, *map(embed_files, external)])
    result = linear_probe(train=embed(train), validation=embed(validation), test=embeddings)
    probabilities, further = np.split(result.probabilities, [len(tested)])
    return replace(result, probabilities=probabilities, external=further)


def _average(feature_maps: np.ndarray) -> np.ndarray:
    return feature_maps.astype("float32").mean(axis=(1, 2))


def linear_probe(
    *,
    train: LabeledEmbeddings,
    validation: LabeledEmbeddings,
    test: np.ndarray,
    c_grid: Sequence[float] = C_GRID,
) -> ProbeResult:
    """Fit a logistic regression with balanced class weights for each C, and test the best.

    Args:
        train: fits scaling and regression.
        validation: chooses the C with the lowest log loss.
        test: embeddings [images, channels].
        c_grid: inverse strengths of the L2 penalty. Default: `C_GRID`.
    """
    models = {
        c: make_pipeline(
            StandardScaler(), LogisticRegression(C=c, class_weight="balanced", max_iter=2000)
        ).fit(*train)
        for c in c_grid
    }
    embeddings, labels = validation
    classes = models[c_grid[0]].classes_
    losses = {
        c: float(log_loss(labels, model.predict_proba(embeddings), labels=classes))
        for c, model in models.items()
    }
    best = min(losses, key=lambda c: losses[c])
    return ProbeResult(c=best, losses=losses, probabilities=models[best].predict_proba(test))
