"""What the cross-validation compares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SETTINGS = Path(__file__).with_name("results.yaml")


@dataclass(frozen=True)
class Arm:
    """One way to train, as overrides of `results.yaml`."""

    name: str
    title: str
    overrides: tuple[str, ...] = ()
    # Of which the validation patients of a fold choose; none fits a linear probe to the frozen features.
    learning_rates: tuple[float, ...] = (0.003, 0.01, 0.03)


_SMALL = "image.size=64"  # where every block learns, 224 px would take hours on two cores
_ALL_BLOCKS = "training.fine_tune=all", "training.blocks=null"

PROBE = Arm("probe", "linear probe on the frozen features", learning_rates=())
ARMS = (
    Arm("parallel", "hybrid: CNN branch beside LSTM"),
    Arm("none", "none: the CNN branch alone", ("head.variant=none",)),
    PROBE,
    Arm("serial", "serial: the LSTM alone", ("head.variant=serial",)),
    Arm("parallel-64", "hybrid at 64 px", (_SMALL,)),
    Arm(
        "imagenet-64",
        "hybrid at 64 px, all blocks learn from ImageNet weights",
        (_SMALL, *_ALL_BLOCKS),
        learning_rates=(0.003, 0.01),
    ),
    Arm(
        "scratch-64",
        "hybrid at 64 px, all blocks learn from random weights",
        (_SMALL, "candidates.mobilenet.weights=none", *_ALL_BLOCKS),
        learning_rates=(0.01, 0.03),
    ),
)
