"""The description as a person reads it."""

from __future__ import annotations

import io

from rich.console import Console

from pipeline.data.describe_data import Counts, Description, SplitDescription
from pipeline.data.print_description import print_description

BOTH = Counts(1234, 5, None, {"benign": 4, "malignant": 1230})


def shown(problems: int) -> list[list[str]]:
    description = Description(
        location="/data/[old]",
        counts=BOTH,
        classes={"benign": Counts(4, 2, None, {"benign": 4}), "malignant": Counts(1230, 3, None, {})},
        slices={"magnification": {"40X": BOTH}},
        split=SplitDescription({"by": "folds", "folds": 5}, 7, "0" * 64, {"train": BOTH}),
        problems=tuple(f"file {number}" for number in range(problems)),
        notes=("adenosis is rare",),
        not_checked=("pixels",),
    )
    console = Console(file=io.StringIO(), width=80, markup=False)
    print_description(description, settings="preset demo", console=console)
    return [line.split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_every_part_is_shown() -> None:
    lines = shown(problems=1)
    assert lines[0] == ["data:", "/data/[old]"]
    assert ["benign", "4", "2"] in lines
    assert ["all", "1,234", "5"] in lines
    assert ["magnification", "images", "benign", "malignant", "patients"] in lines
    assert ["40X", "1,234", "4", "1,230", "5"] in lines
    assert ["split", "of", "preset", "demo:", "by", "folds,", "folds", "5,", "seed", "7"] in lines
    assert ["note:", "adenosis", "is", "rare"] in lines
    assert ["not", "checked:", "pixels"] in lines
    assert lines[-2:] == [["problem:", "file", "0"], ["1", "problem"]]


def test_of_many_problems_twenty_are_shown_and_all_counted() -> None:
    lines = shown(problems=25)
    assert sum(line[:1] == ["problem:"] for line in lines) == 20
    assert ["and", "5", "more", "problems;", "--json", "lists", "them", "all"] in lines
    assert lines[-1] == ["25", "problems"]
