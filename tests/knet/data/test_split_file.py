"""Split files: their digest, reading, and frozen splits compared with the data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.base.errors import UserError
from knet.data.split import Split, check_frozen_split, read_split

FILE = Path("split.json")
SPLIT = Split(
    seed=3,
    made={"by": "shares", "test_share": 0.1},
    assignment={"14-1": "train", "14-2": "test", "14-3": "validation"},
    notes=("größe 1: 2 patients",),
)

splits = st.builds(
    Split,
    seed=st.integers(0, 2**31 - 1),
    made=st.dictionaries(st.text(), st.text() | st.integers() | st.floats(allow_nan=False)),
    assignment=st.dictionaries(st.text(), st.sampled_from(("train", "validation", "test"))),
    notes=st.lists(st.text()).map(tuple),
)


@given(splits, st.sampled_from((None, 2)), st.booleans())
def test_read_split_accepts_any_json_layout(split: Split, indent: int | None, sort_keys: bool) -> None:
    text = json.dumps(split.frozen(), indent=indent, sort_keys=sort_keys)
    assert read_split(text, FILE) == split


def test_split_sha256_is_of_canonical_json() -> None:
    content = (
        b'{"assignment":{"14-1":"train","14-2":"test","14-3":"validation"},"made":{"by":"shares","test_share":0.1},'
        b'"notes":["gr\\u00f6\\u00dfe 1: 2 patients"],"seed":3,"version":1}'
    )
    assert SPLIT.sha256 == hashlib.sha256(content).hexdigest()
    other_order = SPLIT.model_copy(
        update={"assignment": dict(sorted(SPLIT.assignment.items(), reverse=True))}
    )
    assert other_order.sha256 == SPLIT.sha256


@pytest.mark.parametrize(
    "change",
    [
        {"assignment": {**SPLIT.assignment, "14-1": "test"}},
        {"assignment": {"14-1": "train"}},
        {"seed": 4},
        {"made": {}},
        {"notes": []},
        {"sha256": "0" * 64},
    ],
)
def test_read_split_of_an_edited_file_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(
        UserError, match=r"split\.json was changed after it was written: .*; give the file as a"
    ):
        read_split(json.dumps({**SPLIT.frozen(), **change}), FILE)


def without(field: str) -> str:
    return json.dumps({name: value for name, value in SPLIT.frozen().items() if name != field})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Expecting property name"),
        (without("assignment"), "assignment: Field required"),
        (json.dumps({**SPLIT.frozen(), "version": 2}), "version: Input should be 1"),
        (
            json.dumps({**SPLIT.frozen(), "assignment": {"14-1": "exam"}}),
            r"assignment\.14-1: Input should be",
        ),
        (json.dumps({**SPLIT.frozen(), "more": 1}), "more: Extra inputs are not permitted"),
        (json.dumps({**SPLIT.frozen(), "\x1b": 1}), r"\\x1b: Extra inputs are not permitted"),
        ('{"notes": ' + "[" * 100_000, "recursion"),
        ('{"seed": ' + "1" * 10_000 + "}", "integer string conversion"),
    ],
)
def test_read_split_of_other_content_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=rf"split\.json is not a split file of this version \(.*{problem}"):
        read_split(text, FILE)


def test_read_split_without_hash_is_refused() -> None:
    with pytest.raises(UserError, match="its hash does not fit"):
        read_split(without("sha256"), FILE)


FROZEN_FILE = Path("mine/split.json")
ORDER = {"benign": ["1", "2", "3"], "malignant": ["4", "5", "6"]}
FROZEN_SPLIT = Split(
    seed=0,
    made={},
    assignment={"1": "train", "2": "validation", "3": "test", "4": "train", "5": "validation", "6": "test"},
)


def test_check_frozen_split_of_the_same_patients_has_no_notes() -> None:
    assert check_frozen_split(FROZEN_SPLIT, ORDER, file=FROZEN_FILE) == []


def test_check_frozen_split_with_unknown_patients_is_refused() -> None:
    order = {**ORDER, "benign": ["9", "1", "2", "3", "8"]}
    with pytest.raises(UserError, match=r"mine/split\.json lacks 2 patients of the data: 8, 9; remove"):
        check_frozen_split(FROZEN_SPLIT, order, file=FROZEN_FILE)


def test_check_frozen_split_notes_absent_patients() -> None:
    split = FROZEN_SPLIT.model_copy(
        update={"assignment": {**FROZEN_SPLIT.assignment, "8": "train", "7": "test"}}
    )
    assert check_frozen_split(split, ORDER, file=FROZEN_FILE) == [
        "2 patients of split.json are not in the data: 7, 8"
    ]


def test_check_frozen_split_without_a_class_is_refused() -> None:
    with pytest.raises(UserError, match=r"by mine/split\.json no malignant patient of the data is for test"):
        check_frozen_split(FROZEN_SPLIT, {**ORDER, "malignant": ["4", "5"]}, file=FROZEN_FILE)


def test_check_frozen_split_refuses_one_that_leaks_patients() -> None:
    split = SPLIT.model_copy(update={"made": {**SPLIT.made, "unit": "folder"}})
    with pytest.raises(UserError, match=r"split\.json is a split by folder, which leaks patients"):
        check_frozen_split(split, {"benign": list(SPLIT.assignment)}, file=FILE)
