"""The search for hyperparameters."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.config.names import BackboneName
from pipeline.config.section import Section


class RangeConfig(Section):
    """An interval to search."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> RangeConfig:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        return self


class LearningRateRange(RangeConfig):
    """Learning rates, searched on a log scale."""

    low: float = Field(1e-4, gt=0)
    high: float = Field(1e-1, le=10)


class MomentumRange(RangeConfig):
    """Momenta, searched on a linear scale."""

    low: float = Field(0.5, ge=0)
    high: float = Field(0.99, lt=1)


class DecayRange(RangeConfig):
    """Factors of the learning rate per epoch, searched on a linear scale."""

    low: float = Field(0.85, gt=0)
    high: float = Field(1.0, le=1)


class DropoutRange(RangeConfig):
    """Shares of units, searched on a linear scale."""

    low: float = Field(0.2, ge=0)
    high: float = Field(0.6, lt=1)


class TuningConfig(Section):
    """The search for learning rate, momentum and more, on training patients (docs/tuning.md)."""

    scope: Literal["shared", "backbone"] = "shared"  # one search for all candidates, or one for each
    backbone: BackboneName = "mobilenet"  # that a shared search is made on; must be a candidate
    method: Literal["bayesian", "hyperband", "random", "grid"] = "bayesian"
    objective: Literal["val_loss", "balanced_accuracy"] = "val_loss"  # the mean over the folds
    folds: int = Field(3, ge=1, le=20)  # of the training patients; 1 holds out a fifth of them, once
    trials: int = Field(10, ge=1)  # at most; the first has the paper's learning rate and momentum
    epochs: int = Field(10, ge=1)  # of a trial on a fold, at most
    early_stopping_patience: int = Field(3, ge=1)  # epochs, within a trial
    warm_start: int = Field(0, ge=0)  # so many of the best values of the search before are tried first
    workers: int = Field(1, ge=1, le=64)  # processes that share the search
    seed: int | None = Field(None, ge=0, lt=2**31)  # of what is tried; none means that of the experiment
    learning_rate: LearningRateRange = LearningRateRange()
    momentum: MomentumRange = MomentumRange()
    # Beside these two, only what is given is searched; the candidates' own values are always among choices.
    learning_rate_decay: DecayRange | None = None
    dropout: DropoutRange | None = None
    lstm_units: tuple[Annotated[int, Field(ge=1)], ...] = ()
    dense_units: tuple[Annotated[int, Field(ge=1)], ...] = ()
    blocks: tuple[Annotated[int, Field(ge=0)], ...] = ()  # with training.fine_tune blocks
    grid_points: int = Field(4, ge=2)  # of each range, with method grid

    @property
    def ranges(self) -> dict[str, RangeConfig]:
        """The intervals that are searched, by hyperparameter."""
        names = ("learning_rate", "momentum", "learning_rate_decay", "dropout")
        return {name: limits for name in names if (limits := getattr(self, name)) is not None}

    @property
    def choices(self) -> dict[str, tuple[int, ...]]:
        """The values that are chosen from, by hyperparameter."""
        names = ("lstm_units", "dense_units", "blocks")
        return {name: values for name in names if (values := getattr(self, name))}

    @model_validator(mode="after")
    def _within_the_trials(self) -> TuningConfig:
        if self.warm_start >= self.trials:
            raise ValueError(
                f"warm_start={self.warm_start} does not go with trials={self.trials}, of which the first has "
                "the paper's values"
            )
        # A choice may gain the candidate's own value.
        points = self.grid_points ** len(self.ranges) * math.prod(
            len(set(values)) + 1 for values in self.choices.values()
        )
        needed = points + 1 + self.warm_start
        if self.method == "grid" and needed > self.trials:
            raise ValueError(
                f"the grid and the values before it take up to {needed} trials, not {self.trials}; set "
                f"trials={needed}, or a lower grid_points"
            )
        return self
