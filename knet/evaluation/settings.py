"""Settings of selection, gate and report."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field

from knet.base.settings import Section

# Metrics that are better when larger: of two classes (knet.evaluation.binary_metrics),
BinaryMetric = Literal[
    "accuracy",
    "balanced_accuracy",
    "roc_auc",
    "pr_auc",
    "precision",
    "recall",
    "specificity",
    "f1",
    "patient_recognition_rate",
    "patient_decision_accuracy",
]
# of more than two (knet.evaluation.multiclass_metrics),
MulticlassMetric = Literal[
    "accuracy",
    "balanced_accuracy",
    "macro_roc_auc",
    "macro_pr_auc",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
    "cohen_kappa",
    "patient_recognition_rate",
    "patient_decision_accuracy",
]
# and of the positive group of these against the others.
GroupMetric = Literal[
    "positive_accuracy",
    "positive_balanced_accuracy",
    "positive_roc_auc",
    "positive_pr_auc",
    "positive_precision",
    "positive_recall",
    "positive_specificity",
    "positive_f1",
    "positive_patient_recognition_rate",
    "positive_patient_decision_accuracy",
]
MetricName = Literal[BinaryMetric, MulticlassMetric, GroupMetric]


def metric_problem(metric: str, *, classes: int, group: bool) -> str | None:
    """Return why a metric does not exist, with those that do; None if it exists.

    Args:
        metric: one of `MetricName`.
        classes: number of classes.
        group: whether there is a positive group of more than two classes.
    """
    available = get_args(BinaryMetric if classes == 2 else MulticlassMetric)
    if group:
        available += get_args(GroupMetric)
    if metric in available:
        return None
    if metric in get_args(BinaryMetric):
        needs = "two classes"
    elif metric in get_args(MulticlassMetric):
        needs = "more than two classes"
    else:
        needs = "a positive group of the classes, data.positive"
    return f"{metric} needs {needs}; name one of {', '.join(available)}"


# Selection metrics of two classes that have a counterpart of more.
MACRO_AREAS: Final = {"roc_auc": "macro_roc_auc", "pr_auc": "macro_pr_auc"}

_MINIMUM: Final = {"balanced_accuracy": 0.75}
_MINIMUM_RECALL: Final = 0.85  # of the positive class or group


class SelectionConfig(Section):
    """Selection of the winner on validation patients."""

    metric: MetricName = Field(
        "balanced_accuracy",
        description="Metric that ranks the candidates. Of more than two classes roc_auc and pr_auc stand for "
        "macro_roc_auc and macro_pr_auc.",
    )
    equivalence_margin: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Candidates are equivalent to the best if they are at most this far below it and a "
        "paired bootstrap does not show that they are worse. The smallest of them wins.",
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

    minimum: dict[MetricName, Annotated[float, Field(ge=0, le=1)]] | None = Field(
        None,
        description="Least value of each metric on test patients; {} requires none. null: a "
        f"balanced_accuracy of {_MINIMUM['balanced_accuracy']}, and a recall of {_MINIMUM_RECALL} of the "
        "positive class (recall) or of the positive group (positive_recall), if there is one.",
    )
    margin: float | None = Field(
        0.05,
        ge=0,
        le=1,
        description="Non-inferiority margin: the lower bound of the 95 % interval of the paired difference "
        "from the model in production, on test patients of both, must be at least -margin. null: no "
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

    def rules(self, *, classes: int, group: bool) -> dict[str, Any]:
        """Return the fields with the minimum that null stands for.

        Args:
            classes: number of classes.
            group: whether there is a positive group of more than two classes.
        """
        if self.minimum is not None:
            return self.model_dump()
        recall = {"recall": _MINIMUM_RECALL} if classes == 2 else {}
        if group:
            recall = {"positive_recall": _MINIMUM_RECALL}
        return {**self.model_dump(), "minimum": {**_MINIMUM, **recall}}


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
