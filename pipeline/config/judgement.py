"""What becomes of trained models: calibration, selection, gate, report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.names import BackboneName, MetricName
from pipeline.config.section import Section, Share


class CalibrationConfig(Section):
    """What is fitted on validation images between a model's logits and its answer."""

    temperature: bool = True  # by which the logits are divided; false leaves the probabilities as they are
    # the probability from which an image is called positive. youden: sensitivity + specificity is largest;
    # sensitivity: the highest that reaches target_sensitivity; a number: that
    threshold: Literal["youden", "sensitivity"] | Share = "youden"
    target_sensitivity: float = Field(0.95, gt=0, le=1)


class OodConfig(Section):
    """Which images a served model does not vouch for: out of distribution, blurred, without tissue."""

    false_reject_rate: float = Field(0.05, ge=0, lt=1)  # share of validation images that may be among them


class SelectionConfig(Section):
    """How the winner is chosen, on validation patients only."""

    metric: MetricName = "balanced_accuracy"
    # candidates this close to the best, and not shown to be worse by a paired bootstrap, are as good: the
    # smallest of them wins
    tie: float = Field(0.01, ge=0, le=1)
    pin: BackboneName | None = None  # the winner, whatever the metric says


class GateConfig(Section):
    """What the winner must reach on test patients to be pushed."""

    # the least value of each metric; empty asks for none
    minimum: dict[MetricName, Annotated[float, Field(ge=0, le=1)]] = {
        "balanced_accuracy": 0.75,
        "recall": 0.85,
    }
    # how much worse than the model in production the winner may be, at worst: the lower end of the 95 %
    # interval of the paired difference, on the test patients of both; none compares with nothing
    margin: float | None = Field(0.05, ge=0, le=1)
    metric: MetricName = "patient_recognition_rate"  # that is compared
    patients: int = Field(2, ge=1)  # test patients of each class, below which figures show nothing
    insufficient: Literal["pass", "refuse"] = "refuse"  # what becomes of the winner then


class ReportConfig(Section):
    """What the report shows beside figures."""

    # test images of each kind (most certain, most wrong, most uncertain) with the winner's heat maps
    explanations: int = Field(3, ge=0, le=20)
