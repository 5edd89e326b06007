"""Shows the description of a data set on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from components.breakhis_example_gen.listing import counted
from pipeline.data.describe_data import Counts, Description

_LISTED = 20  # problems


def print_description(description: Description, *, settings: str, console: Console) -> None:
    """Prints tables of counts and of the split, then notes, what was not checked, and problems.

    Args:
        description: of the data.
        settings: the name of what the split was made with.
        console: where it prints.
    """
    console.print(f"data: {description.location}", soft_wrap=True)
    classes = list(description.classes)
    console.print(_table("class", {**description.classes, "all": description.counts}, []))
    for column, values in description.slices.items():
        console.print(_table(column, values, classes))
    if description.split:
        made = ", ".join(f"{name} {value}" for name, value in description.split.made.items())
        console.print(f"split of {settings}: {made}, seed {description.split.seed}", soft_wrap=True)
        console.print(_table("split", description.split.counts, classes))
    for heading, lines in (("note", description.notes), ("not checked", description.not_checked)):
        for line in lines:
            console.print(f"{heading}: {line}", soft_wrap=True)
    for problem in description.problems[:_LISTED]:
        console.print(f"problem: {problem}", soft_wrap=True)
    if len(description.problems) > _LISTED:
        more = counted(len(description.problems) - _LISTED, "more problem")
        console.print(f"and {more}; --json lists them all")
    console.print(counted(len(description.problems), "problem"))


def _table(name: str, rows: Mapping[str, Counts], classes: Sequence[str]) -> Table:
    has_slides = any(counts.slides is not None for counts in rows.values())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(name)
    for heading in ("images", *classes, "patients", *(["slides"] if has_slides else [])):
        table.add_column(heading, justify="right")
    for row, counts in rows.items():
        numbers = [
            counts.images,
            *(counts.images_by_class.get(label, 0) for label in classes),
            counts.patients,
        ]
        table.add_row(row, *(f"{n:,}" for n in numbers), *([f"{counts.slides or 0:,}"] if has_slides else []))
    return table
