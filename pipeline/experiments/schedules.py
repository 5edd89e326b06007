"""The trainings that the paper compares: how long, and how deep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """One way to train every candidate, as overrides of the experiment's configuration."""

    name: str
    title: str
    overrides: tuple[str, ...]
    deep: bool = False  # whether it is about how many blocks learn, and not about how long


@dataclass(frozen=True)
class Scale:
    """How large the experiment is."""

    preset: str
    overrides: tuple[str, ...]
    epochs: tuple[int, ...]  # the last is the most that early stopping allows

    def schedules(self) -> tuple[Schedule, ...]:
        """All trainings, the paper's first."""
        fixed = tuple(_fixed(epochs) for epochs in self.epochs)
        most = f"training.epochs={self.epochs[-1]}"
        depths = tuple(
            Schedule(name, title, (most, *overrides), deep=True) for name, title, overrides in _DEPTHS
        )
        return (*fixed, Schedule(EARLY_STOPPING, "early stopping", (most,)), *depths)


EARLY_STOPPING = "early-stopping"
_DEPTHS = (
    ("head", "the head alone", ("training.fine_tune=blocks", "training.blocks=0")),
    ("two-blocks", "head and two blocks", ("training.fine_tune=blocks", "training.blocks=2")),
    ("all", "all blocks from the first epoch", ("training.fine_tune=all",)),
)
SCALES = {
    "full": Scale("paper", (), (75, 100, 150, 200)),
    # Shows that everything works, and nothing else.
    "smoke": Scale(
        "demo",
        (
            "tuning=null",
            "image.size=32",
            "candidates={mobilenet: {weights: none, alpha: 0.25}, vgg16: {weights: none}}",
            "training.fine_tune=staged",
        ),
        (2, 3, 4, 5),
    ),
}


def _fixed(epochs: int) -> Schedule:
    # As patient as it is long: it never stops before.
    overrides = (f"training.epochs={epochs}", f"training.early_stopping_patience={epochs}")
    return Schedule(f"{epochs}-epochs", f"{epochs} epochs", overrides)
