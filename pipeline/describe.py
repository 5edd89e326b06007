"""Description of a data set, made in seconds and without TensorFlow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from knet.base import schema_names
from knet.base.errors import UnusableError, UserError
from knet.base.image_files import check_image_start
from knet.base.text import counted
from knet.data.catalog import Catalog, read_catalog
from knet.data.folders import Folder
from knet.data.leaks import find_duplicate_files
from knet.data.source import ImageFile
from knet.data.split import make_split
from pipeline.config.config import Config
from pipeline.preflight import check_folds, check_slices, count_test_patients, gate_refusal


@dataclass(frozen=True)
class Counts:
    """Numbers of images, patients and slides."""

    images: int
    patients: int
    slides: int | None  # None if the data have no slides
    images_by_class: dict[str, int]


@dataclass(frozen=True)
class SplitDescription:
    """Split that a run with the same settings would make."""

    made: dict[str, str | int | float]
    seed: int
    sha256: str
    counts: dict[str, Counts]  # by split


@dataclass(frozen=True)
class Description:
    """Counts, split and problems of a data set."""

    location: str
    counts: Counts
    classes: dict[str, Counts]
    slices: dict[str, dict[str, Counts]]  # by column and value
    split: SplitDescription | None  # None if it cannot be made; a problem states the reason
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    not_checked: tuple[str, ...]


def describe_data(config: Config) -> Description:
    """Describe the data of `config.data.source` by names, sizes, and the first and last bytes of files.

    Args:
        config: Configuration with a source.

    Raises:
        UserError: The source does not exist, or has no images.
    """
    data = config.data
    assert data.source is not None  # required by the command line
    catalog = read_catalog(
        data.source, root=data.root, classes=data.classes, keep_duplicate_slides=data.keep_duplicate_slides
    )
    config = config.with_slices(catalog.slices)
    problems = [f"{file.path}: {file.reason}" for file in catalog.quarantined]
    notes = list(_notes(catalog))
    file_problems, not_checked = _check_files(catalog)
    problems += file_problems
    split = None
    try:
        check_slices(config, catalog)
        made = make_split(catalog.images, **config.split_settings)
    except UserError as error:
        problems.append(str(error))
    else:
        notes += made.notes
        try:
            check_folds(config, catalog, made)
        except UserError as error:
            problems.append(str(error))
        refusal = gate_refusal(config, count_test_patients(config, catalog.images, made))
        if refusal:
            problems.append(refusal)
        images = {
            name: [image for image in catalog.images if made.split_of(image) == name]
            for name in schema_names.SPLITS
        }
        counts = {name: _count(of_split) for name, of_split in images.items()}
        split = SplitDescription(made.made, made.seed, made.sha256, counts)
    return Description(
        location=str(catalog.location),
        counts=_count(catalog.images),
        classes={label: _count(i for i in catalog.images if i.label == label) for label in data.classes},
        slices={
            name: _slice(catalog.images, name) for name in config.data.slices or () if name in catalog.columns
        },
        split=split,
        problems=tuple(problems),
        notes=tuple(notes),
        not_checked=not_checked,
    )


def _count(images: Iterable[ImageFile]) -> Counts:
    images = list(images)
    has_slides = any(name == "slide" for image in images for name, _ in image.columns)
    return Counts(
        images=len(images),
        patients=len({image.patient for image in images}),
        slides=len({image.column("slide") for image in images}) if has_slides else None,
        images_by_class=dict(Counter(image.label for image in images)),
    )


def _slice(images: Collection[ImageFile], column: str) -> dict[str, Counts]:
    values = {image.column(column) for image in images}
    return {
        value: _count(image for image in images if image.column(column) == value)
        for value in sorted(values, key=_natural_key)
    }


def _natural_key(text: str) -> list[str | int]:
    """Return a sort key that puts 40X before 100X."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", text)]


def _notes(catalog: Catalog) -> Iterable[str]:
    if catalog.excluded_duplicates:
        count = len(catalog.excluded_duplicates)
        yield f"{count} images excluded: second copies of a slide filed under two subtypes"
    yield from catalog.class_notes
    if catalog.ignored_files:
        yield f"{len(catalog.ignored_files)} other files ignored"


def _check_files(catalog: Catalog) -> tuple[list[str], tuple[str, ...]]:
    """Return the problems of files, and the checks that were not made."""
    if not isinstance(catalog.source, Folder):
        sizes = dict(catalog.sizes)
        problems = [f"{image.path}: zero bytes" for image in catalog.images if not sizes[image.path]]
        return problems, ("contents: files in an archive are opened by a run only",)
    folder = catalog.source.folder
    bad = check_headers(folder, [image.path for image in catalog.images])
    copies = find_duplicate_files(folder, [image for image in catalog.images if image.path not in bad])
    not_checked = ["pixels: a run finds damage between the first and last bytes, and identical pixels"]
    if copies is None:
        not_checked.append("identical files of several patients: too many have equal sizes; a run finds them")
    return [*(f"{path}: {reason}" for path, reason in bad.items()), *(copies or [])], tuple(not_checked)


_LISTED = 20  # problems


def print_description(description: Description, *, settings: str, console: Console) -> None:
    """Print tables of counts and of the split, then notes, checks that were not made, and problems.

    Args:
        description: Description of the data.
        settings: Name of the configuration that the split was made with.
        console: Console to print on.
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


def check_headers(folder: Path, paths: Sequence[str]) -> dict[str, str]:
    """Find files that cannot be ingested, by their first and last bytes.

    Args:
        folder: Folder that the paths are relative to.
        paths: Paths of files.

    Returns:
        Reason by path.
    """
    with ThreadPoolExecutor() as pool:
        reasons = pool.map(lambda path: _reason(folder / path), paths)
        return {path: reason for path, reason in zip(paths, reasons, strict=True) if reason}


def _reason(path: Path) -> str | None:
    if not path.is_file():  # reading a pipe would block
        return "not a file"
    try:
        with path.open("rb") as file:
            check_image_start(file)
    except UnusableError as error:
        return str(error)
    except Exception as error:  # decoders raise anything on a damaged file
        unread = getattr(error, "strerror", None)  # reason of the system, if the file cannot be read at all
        return f"cannot be read ({unread})" if unread else "not an image, or damaged in its first bytes"
    return None
