"""Settings of the hyperparameter search."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from knet.base.settings import Section


class RangeConfig(Section):
    """Search interval."""

    low: float = Field(description="Lower end.")
    high: float = Field(description="Upper end.")

    @model_validator(mode="after")
    def _ordered(self) -> RangeConfig:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        return self


class LearningRateRange(RangeConfig):
    """Search interval of the learning rate, on a log scale."""

    low: float = Field(1e-4, gt=0, description="Lower end.")
    high: float = Field(1e-1, le=10, description="Upper end.")


class MomentumRange(RangeConfig):
    """Search interval of the momentum, on a linear scale, with SGD; null: not searched."""

    low: float = Field(0.5, ge=0, description="Lower end.")
    high: float = Field(0.99, lt=1, description="Upper end.")


class WeightDecayRange(RangeConfig):
    """Search interval of training.weight_decay, on a log scale, with AdamW; null: not searched."""

    low: float = Field(1e-5, gt=0, description="Lower end.")
    high: float = Field(1e-1, lt=1, description="Upper end.")


class DecayRange(RangeConfig):
    """Search interval of training.learning_rate_decay, on a linear scale; null: not searched."""

    low: float = Field(0.85, gt=0, description="Lower end.", json_schema_extra={"unit": "1/epoch"})
    high: float = Field(1.0, le=1, description="Upper end.", json_schema_extra={"unit": "1/epoch"})


class DropoutRange(RangeConfig):
    """Search interval of head.dropout, on a linear scale; null: not searched."""

    low: float = Field(
        0.2, ge=0, description="Lower end.", json_schema_extra={"unit": "fraction of the units"}
    )
    high: float = Field(
        0.6, lt=1, description="Upper end.", json_schema_extra={"unit": "fraction of the units"}
    )


# Fields of `training` whose configured value a search over them does not use; it starts from the default.
REPLACED = ("learning_rate", "momentum", "weight_decay")


class TuningConfig(Section):
    """Hyperparameter search on training patients (docs/tuning.md); null: the values of `training`."""

    scope: Literal["shared", "candidate"] = Field(
        "shared", description="shared: one search for all candidates; candidate: one for each."
    )
    candidate: str | None = Field(None, description="Candidate of a shared search. null: the first.")
    method: Literal["bayesian", "hyperband", "random", "grid"] = Field(
        "bayesian", description="Search algorithm of KerasTuner."
    )
    objective: Literal["val_loss", "balanced_accuracy"] = Field(
        "val_loss", description="Objective of the search, as the mean over the folds."
    )
    folds: int = Field(
        3,
        ge=1,
        le=20,
        description="Folds of the training patients; 1 holds out a fifth of them once.",
        json_schema_extra={"unit": "folds"},
    )
    trials: int = Field(
        10,
        ge=1,
        description="Maximum of trials. The first has the paper's learning rate and momentum, or with AdamW "
        "the default learning rate and weight decay.",
        json_schema_extra={"unit": "trials"},
    )
    epochs: int = Field(
        10, ge=1, description="Maximum of epochs of a trial on a fold.", json_schema_extra={"unit": "epochs"}
    )
    early_stopping_patience: int = Field(
        3,
        ge=1,
        description="Epochs without improvement after which a trial stops on a fold.",
        json_schema_extra={"unit": "epochs"},
    )
    warm_start: int = Field(
        0,
        ge=0,
        description="Best values of the previous search that are tried first.",
        json_schema_extra={"unit": "trials"},
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that share the search.",
        json_schema_extra={"unit": "processes"},
    )
    seed: int | None = Field(
        None, ge=0, lt=2**31, description="Seed of the search. null: the top-level seed."
    )
    learning_rate: LearningRateRange = LearningRateRange()
    momentum: MomentumRange | None = MomentumRange()
    weight_decay: WeightDecayRange | None = None
    learning_rate_decay: DecayRange | None = None
    dropout: DropoutRange | None = None
    lstm_units: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="Choices of head.lstm_units beside the configured value; []: not searched."
    )
    dense_units: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="Choices of head.dense_units beside the configured value; []: not searched."
    )
    blocks: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (),
        description="Choices of training.blocks beside the configured value, with "
        "training.fine_tune=blocks; []: not searched.",
    )
    grid_points: int = Field(
        4, ge=2, description="Values of each interval with method=grid.", json_schema_extra={"unit": "values"}
    )

    @property
    def ranges(self) -> dict[str, RangeConfig]:
        """Search intervals by hyperparameter."""
        names = ("learning_rate", "momentum", "weight_decay", "learning_rate_decay", "dropout")
        return {name: limits for name in names if (limits := getattr(self, name)) is not None}

    @property
    def choices(self) -> dict[str, tuple[int, ...]]:
        """Search choices by hyperparameter."""
        names = ("lstm_units", "dense_units", "blocks")
        return {name: values for name in names if (values := getattr(self, name))}

    def for_optimizer(self, optimizer: str) -> TuningConfig:
        """Return the settings without the ranges of the other optimizer.

        Args:
            optimizer: `sgd` or `adamw`.
        """
        return self.model_copy(update={"weight_decay" if optimizer == "sgd" else "momentum": None})

    @property
    def replaced(self) -> set[str]:
        """Fields of `training` and `head` whose configured value a search replaces unseen."""
        shared = () if self.scope == "candidate" else (*self.ranges, *self.choices)
        return {name for name in REPLACED if name in self.ranges}.union(shared)

    @model_validator(mode="after")
    def _enough_trials(self) -> TuningConfig:
        if self.warm_start >= self.trials:
            raise ValueError(
                f"warm_start={self.warm_start} must be below trials={self.trials}, the first of which has "
                "the paper's values"
            )
        # A choice may gain the candidate's own value.
        ranges = max(len(self.for_optimizer(optimizer).ranges) for optimizer in ("sgd", "adamw"))
        points = self.grid_points**ranges * math.prod(
            len(set(values)) + 1 for values in self.choices.values()
        )
        needed = points + 1 + self.warm_start
        if self.method == "grid" and needed > self.trials:
            raise ValueError(
                f"the grid and the trials before it need up to {needed} trials, not {self.trials}; set "
                f"trials={needed}, or a lower grid_points"
            )
        return self
