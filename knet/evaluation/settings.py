"""Settings of selection, gate and report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from knet.base.settings import Section
from knet.models.settings import MetricName


class SelectionConfig(Section):
    """Selection of the winner on validation patients."""

    metric: MetricName = Field("balanced_accuracy", description="Metric that ranks the candidates.")
    equivalence_margin: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Candidates at most this far below the best, and not shown to be worse by a paired "
        "bootstrap, are equivalent to it; the smallest of them wins.",
        json_schema_extra={"unit": "units of the metric"},
    )
    force_winner: str | None = Field(
        None, description="Candidate that wins regardless of the metric; null selects by the metric."
    )
    require_all: bool = Field(
        False,
        description="Whether a candidate that fails (loss not finite, out of memory, unusable weights) ends "
        "the run. false: the others are compared without it.",
    )


class GateConfig(Section):
    """Quality gate: requirements on test patients for a model to be pushed."""

    minimum: dict[MetricName, Annotated[float, Field(ge=0, le=1)]] = Field(
        {"balanced_accuracy": 0.75, "recall": 0.85},
        description="Least value of each metric on test patients; {} requires none.",
    )
    margin: float | None = Field(
        0.05,
        ge=0,
        le=1,
        description="Non-inferiority margin: how far the lower end of the 95 % interval of the paired "
        "difference from the model in production may lie below 0, on test patients of both. null: no "
        "comparison.",
        json_schema_extra={"unit": "units of the metric"},
    )
    metric: MetricName = Field(
        "patient_recognition_rate", description="Metric that is compared with the model in production."
    )
    min_patients: int = Field(
        2,
        ge=1,
        description="Least number of test patients in each class for the checks to be conclusive.",
        json_schema_extra={"unit": "patients of each class"},
    )
    on_insufficient_data: Literal["pass", "fail"] = Field(
        "fail", description="Result of the gate if there are fewer test patients than min_patients."
    )


class ReportConfig(Section):
    """Contents of the report."""

    explanations: int = Field(
        3,
        ge=0,
        le=20,
        description="Test images with heat maps of the winner, of each kind (most certain, most wrong, most "
        "uncertain).",
        json_schema_extra={"unit": "images"},
    )
