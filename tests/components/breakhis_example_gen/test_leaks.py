"""One image in two splits is a leak, whatever patients it is filed under."""

from __future__ import annotations

import pytest

from components.breakhis_example_gen.leaks import check_leaks
from pipeline.errors import UserError


def group(*splits: str) -> list[dict[str, str]]:
    return [{"path": f"{split}.png", "patient": split[0], "split": split} for split in splits]


@pytest.mark.parametrize(
    "duplicates", [[], [group("train")], [group("train", "train"), group("test", "test")]]
)
def test_copies_within_a_split_pass(duplicates: list[list[dict[str, str]]]) -> None:
    check_leaks(duplicates, allowed=False, where="/data")


def test_copies_in_several_splits_are_refused_with_their_places() -> None:
    duplicates = [group("train", "train"), group("train", "test")]
    with pytest.raises(UserError) as caught:
        check_leaks(duplicates, allowed=False, where="/data")
    assert str(caught.value).splitlines() == [
        "1 images of /data are in several splits, under several patients:",
        "  train.png (t, train), test.png (t, test)",
        "leave one copy of each, or put its patients into one; "
        "data.allow_cross_split_duplicates=true only reports them",
    ]


def test_copies_in_several_splits_pass_where_they_are_allowed() -> None:
    check_leaks([group("train", "test")], allowed=True, where="/data")
