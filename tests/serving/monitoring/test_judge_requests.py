"""What is found of requests that are unlike what the model was made for, and of those that are like it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pipeline import features
from serving.monitoring.judge_requests import Judgement, judge_requests
from serving.monitoring.reference import Reference


@pytest.fixture(scope="module")
def judge(training: Any, predictions: pd.DataFrame, schema: Any) -> Any:
    """Judges answers."""

    def of(frame: pd.DataFrame, *, earlier: pd.DataFrame | None = None, scores: bool = True) -> Judgement:
        reference = Reference(training, predictions if scores else None, "run 1")
        return judge_requests(frame, reference=reference, schema=schema, doubted_limit=0.2, earlier=earlier)

    return of


def test_requests_like_the_training_images_are_well(judge: Any, answers: Any) -> None:
    judgement = judge(answers())
    assert judgement.findings == []
    assert [distance.feature for distance in judgement.skew] == list(features.IMAGE_SCALARS)
    assert all(distance.value > 0 for distance in judgement.skew)
    assert (judgement.version, judgement.patients, judgement.drift) == (7, 10, ())
    assert judgement.labels == {"benign": 100, "malignant": 100}
    assert judgement.doubted == pytest.approx(0.05)
    assert judgement.reasons == {"blurred": 10}


@pytest.mark.parametrize(
    ("moved", "feature"),
    [({"hematoxylin": 2.0}, "image/hematoxylin"), ({"laplacian": -2.0}, features.LAPLACIAN)],
)
def test_another_stain_or_focus_is_found_by_its_feature_alone(
    judge: Any, answers: Any, moved: dict[str, float], feature: str
) -> None:
    (finding,) = judge(answers(**moved)).findings
    assert finding.startswith(f"{feature}: 0.")
    assert "from the training images, above 0." in finding


def test_drift_is_looked_for_in_an_earlier_log(judge: Any, answers: Any) -> None:
    same = judge(answers(mean_red=2.0), earlier=answers(mean_red=2.0, seed=3))
    assert [finding.split(":")[0] for finding in same.findings] == ["image/mean_red"]
    moved = judge(answers(), earlier=answers(mean_red=2.0, seed=3))
    (finding,) = moved.findings
    assert finding.startswith("image/mean_red: ") and "from the earlier log" in finding


def test_other_scores_and_doubt_are_found(judge: Any, answers: Any) -> None:
    judgement = judge(answers(scores=(0.8, 0.8), distance=12.0, doubted=0.3))
    score, distance, doubted = judgement.findings
    assert score.startswith("score: 0.") and "from the evaluated images" in score
    assert distance.startswith("distance: 0.") and "from the evaluated images" in distance
    assert doubted == "30.0% of the images doubted, above 20.0%"


def test_without_predictions_scores_are_not_judged(judge: Any, answers: Any) -> None:
    judgement = judge(answers(scores=(0.8, 0.8)), scores=False)
    assert (judgement.answers, judgement.findings) == ((), [])


def test_what_the_schema_does_not_allow_of_a_served_image_is_found(judge: Any, answers: Any) -> None:
    frame = answers()
    frame[features.WIDTH] = 5000
    (finding,) = judge(frame).findings
    assert finding.startswith(f"{features.WIDTH}: ") and "5000" in finding


def test_images_that_were_not_measured_count_as_answers_alone(judge: Any, answers: Any) -> None:
    frame = answers()
    frame.loc[:4, "unusable"] = "not 8-bit RGB but grey"
    frame.loc[:4, list(features.IMAGE_SCALARS)] = float("nan")
    judgement = judge(frame)
    assert judgement.statistics.datasets[0].num_examples == 195
    assert judgement.unusable == {"not 8-bit RGB but grey": 5}
    assert judgement.findings == []


def test_a_feature_that_the_training_statistics_lack_is_found(
    training: Any, schema: Any, answers: Any
) -> None:
    lacking = type(training)()
    lacking.CopyFrom(training)
    kept = [f for f in lacking.datasets[0].features if list(f.path.step) != ["image/eosin"]]
    del lacking.datasets[0].features[:]
    lacking.datasets[0].features.extend(kept)
    judgement = judge_requests(
        answers(), reference=Reference(lacking, None, "run 1"), schema=schema, doubted_limit=0.2
    )
    (finding,) = judgement.findings
    assert finding == "image/eosin: cannot be compared with the training images, whose statistics lack it"
