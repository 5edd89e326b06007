"""The plainest thing to do with frozen features: logistic regression on their averages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.candidate import Candidate
from pipeline.dataset import TransformedSplit
from pipeline.experiments.fold_splits import FoldSplits
from pipeline.experiments.outcome import Outcome
from pipeline.feature_cache.cache_split import cache_split
from pipeline.models.divide_model import divide_model
from pipeline.start_from_seed import start_from_seed

C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_AT_ONCE = 32

Labelled = tuple[np.ndarray, np.ndarray]  # vectors [images, channels], labels [images]


def probe_arm(candidate: Candidate, splits: FoldSplits, *, cache_root: Path) -> Outcome:
    """Fits the probe to the averages of the feature maps of a candidate's frozen backbone.

    Args:
        candidate: whose backbone it is.
        splits: of the fold; the probe sees the same copies of the training images as the candidate.
        cache_root: the folder for feature maps.
    """
    start_from_seed(candidate.seed)
    model = candidate.model(pixel_statistics=splits.train.pixel_statistics())
    frozen, _ = divide_model(model, candidate.name, upper_blocks=0)

    def averages(split: TransformedSplit) -> Labelled:
        maps = cache_split(split, frozen, root=cache_root, batch_size=_AT_ONCE)
        pairs = [
            (batch.astype("float32").mean(axis=(1, 2)), labels)
            for batch, labels in maps.batches(batch_size=_AT_ONCE).as_numpy_iterator()
        ]
        vectors, labels = zip(*pairs, strict=True)
        return np.concatenate(vectors), np.concatenate(labels)

    return linear_probe(
        train=averages(splits.train), validation=averages(splits.validation), test=averages(splits.test)[0]
    )


def linear_probe(
    *, train: Labelled, validation: Labelled, test: np.ndarray, c_grid: Sequence[float] = C_GRID
) -> Outcome:
    """Fits a logistic regression for each C on the training images; both classes weigh alike.

    Args:
        train: to fit scaling and regression to.
        validation: the C with the lowest log loss here is taken.
        test: vectors [images, channels].
        c_grid: inverse strengths of the L2 penalty.
    """
    start = time.monotonic()
    models = {
        c: make_pipeline(
            StandardScaler(), LogisticRegression(C=c, class_weight="balanced", max_iter=2000)
        ).fit(*train)
        for c in c_grid
    }
    vectors, labels = validation
    losses = {c: float(log_loss(labels, model.predict_proba(vectors))) for c, model in models.items()}
    best = min(losses, key=lambda c: losses[c])
    return Outcome(
        chosen={"C": best},
        trials=tuple({"C": c, "val_loss": loss} for c, loss in losses.items()),
        scores=tuple(map(float, models[best].predict_proba(test)[:, 1])),
        seconds=time.monotonic() - start,
        device="CPU",
    )
