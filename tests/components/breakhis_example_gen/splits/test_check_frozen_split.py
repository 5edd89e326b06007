"""A split of yesterday and the data of today."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.breakhis_example_gen.splits.check_frozen_split import check_frozen_split
from components.breakhis_example_gen.splits.split import Split
from pipeline.errors import UserError

FILE = Path("mine/split.json")
ORDER = {"benign": ["1", "2", "3"], "malignant": ["4", "5", "6"]}
SPLIT = Split(
    seed=0,
    made={},
    assignment={"1": "train", "2": "validation", "3": "test", "4": "train", "5": "validation", "6": "test"},
)


def test_the_same_patients_need_no_word() -> None:
    assert check_frozen_split(SPLIT, ORDER, file=FILE) == []


def test_unknown_patients_are_named_with_the_remedy() -> None:
    order = {**ORDER, "benign": ["9", "1", "2", "3", "8"]}
    with pytest.raises(UserError, match=r"mine/split\.json does not know 2 patients of the data: 8, 9; take"):
        check_frozen_split(SPLIT, order, file=FILE)


def test_absent_patients_are_noted() -> None:
    split = SPLIT.model_copy(update={"assignment": {**SPLIT.assignment, "8": "train", "7": "test"}})
    assert check_frozen_split(split, ORDER, file=FILE) == [
        "2 patients of split.json are not in the data: 7, 8"
    ]


def test_a_class_that_is_missing_in_a_split_is_refused() -> None:
    with pytest.raises(UserError, match=r"by mine/split\.json no malignant patient of the data is for test"):
        check_frozen_split(SPLIT, {**ORDER, "malignant": ["4", "5"]}, file=FILE)
