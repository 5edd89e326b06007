"""How problems are told."""

from __future__ import annotations

from components.breakhis_example_gen.listing import counted, listing, printable


def test_ten_problems_are_listed_and_the_rest_counted() -> None:
    lines = listing("13 problems", [f"file {number}" for number in range(13)]).splitlines()
    assert lines[0] == "13 problems:"
    assert lines[1:11] == [f"  file {number}" for number in range(10)]
    assert lines[11:] == ["  and 3 more"]


def test_few_problems_are_all_listed() -> None:
    assert listing("1 problem", ["file"]) == "1 problem:\n  file"


def test_one_is_told_from_many() -> None:
    assert [counted(count, "file") for count in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_what_is_not_printable_is_escaped() -> None:
    assert printable("größe\n\x1b[31m\udcff") == "größe\\n\\x1b[31m\\udcff"
