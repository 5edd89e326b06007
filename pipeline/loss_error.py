"""Says which images made the loss infinite or undefined."""

from __future__ import annotations

import logging

from pipeline.candidate import Candidate
from pipeline.dataset import TransformedSplit
from pipeline.errors import UserError

_NAMED = 20  # the log has the others


def loss_error(
    candidate: Candidate,
    train: TransformedSplit,
    *,
    epoch: int,
    batch: int | None,
    shuffle_buffer: int,
    learning_rate: float,
) -> UserError:
    """The error for a loss that is not finite, with the names of the batch's images.

    Args:
        candidate: that was trained.
        train: what on.
        epoch: in which it happened, from 0.
        batch: likewise; None where it was validation's loss.
        shuffle_buffer: of the split that was trained on.
        learning_rate: at the start.
    """
    remedy = (
        f"with learning rate {learning_rate:g}; lower training.learning_rate or tuning.learning_rate.high"
    )
    if batch is None:
        return UserError(
            f"training {candidate.name}: the validation loss is not finite after epoch {epoch + 1} {remedy}"
        )
    names = train.image_names(
        batch=batch,
        batch_size=candidate.training.batch_size,
        seed=candidate.seed,
        epoch=epoch,
        shuffle_buffer=shuffle_buffer,
    )
    logging.getLogger(__name__).error("the loss is not finite at the images %s", ", ".join(names))
    rest = f" and {len(names) - _NAMED} more, which the log names" if len(names) > _NAMED else ""
    return UserError(
        f"training {candidate.name}: the loss is not finite in batch {batch + 1} of epoch {epoch + 1} "
        f"{remedy}, or look at its images: {', '.join(names[:_NAMED])}{rest}"
    )
