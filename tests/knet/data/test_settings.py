"""Settings of the data: labels, classes and splits."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from knet.data.breakhis import CLASSES, SUBTYPES
from knet.data.settings import DataConfig, SplitConfig


def test_classes_of_breakhis_are_two_or_all_subtypes() -> None:
    assert DataConfig().classes == CLASSES
    assert DataConfig(label="subtype").classes == tuple(SUBTYPES.values())
    assert DataConfig.model_validate(DataConfig(label="subtype").model_dump()).classes[2] == "phyllodes_tumor"


def test_classes_may_be_any_number_in_any_order() -> None:
    subtypes = ("papillary_carcinoma", "adenosis", "fibroadenoma")
    assert DataConfig(label="subtype", classes=subtypes).classes == subtypes
    assert DataConfig(classes=("tumor", "stroma", "lymph", "fat")).classes[3] == "fat"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ["tumor"]}, "classes\n.*at least 2"),
        ({"classes": ["a", "b", "a"]}, "classes: a stands there twice; name each class once"),
        (
            {"label": "subtype", "classes": ["adenosis", "fat"]},
            "classes: fat is no subtype of BreaKHis; with",
        ),
        (
            {"label": "subtype", "source": "a.csv"},
            "label: subtype is of BreaKHis, but the source is a manife",
        ),
        ({"positive": ["malignant"]}, "positive: of two classes the second, malignant, is positive; remove"),
        ({"classes": ["a", "b", "c"], "positive": ["d"]}, "positive: d is not in data.classes; name some of"),
        ({"classes": ["a", "b", "c"], "positive": ["c", "a", "b"]}, "positive: it holds all of data.classes"),
        ({"classes": ["a", "b", "c"], "positive": ["a", "a"]}, "positive: a class stands there twice"),
        ({"classes": ["a", "b", "c"], "positive": []}, "positive\\n.*at least 1"),
        ({"label": "slide"}, "label\n.*'class' or 'subtype'"),
    ],
)
def test_unusable_classes_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate(settings)


@pytest.mark.parametrize("unit", ["folder", "image"])
def test_unit_that_leaks_patients_must_be_allowed(unit: str) -> None:
    assert SplitConfig().unit == "patient"
    assert SplitConfig.model_validate({"unit": unit, "allow_patient_leak": True}).unit == unit
    with pytest.raises(ValidationError, match=f"unit: {unit} puts .*allow_patient_leak=true"):
        SplitConfig.model_validate({"unit": unit})
    with pytest.raises(ValidationError, match=f"unit: a file is a split by patient, not by {unit}"):
        SplitConfig.model_validate({"unit": unit, "allow_patient_leak": True, "file": "split.json"})
