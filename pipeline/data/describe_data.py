"""Describes a data set in seconds, without TensorFlow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from components.breakhis_example_gen.catalog import Catalog, read_catalog
from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.sources.folder import Folder
from components.breakhis_example_gen.splits.make_split import make_split
from pipeline import features
from pipeline.config import Config
from pipeline.data.check_headers import check_headers
from pipeline.data.find_copies import find_copies
from pipeline.errors import UserError
from pipeline.preflight import check_folds, check_slices


@dataclass(frozen=True)
class Counts:
    """How much there is of something."""

    images: int
    patients: int
    slides: int | None  # None where the data know no slides
    images_by_class: dict[str, int]


@dataclass(frozen=True)
class SplitDescription:
    """The split that a run with the same settings would make."""

    made: dict[str, str | int | float]
    seed: int
    sha256: str
    counts: dict[str, Counts]  # by split


@dataclass(frozen=True)
class Description:
    """What there is, and what is wrong with it."""

    location: str
    counts: Counts
    classes: dict[str, Counts]
    slices: dict[str, dict[str, Counts]]  # by column and value
    split: SplitDescription | None  # None where there can be none: a problem says why
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    not_checked: tuple[str, ...]


def describe_data(config: Config) -> Description:
    """Looks at names, sizes and the first and last bytes of the files of `config.data.source`.

    Raises:
        UserError: there is no such source, or no image in it.
    """
    data = config.data
    assert data.source is not None  # the command line asks for it
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
            check_folds(config, catalog, made.assignment)
        except UserError as error:
            problems.append(str(error))
        images = {
            name: [image for image in catalog.images if made.assignment[image.patient] == name]
            for name in features.SPLITS
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
        for value in sorted(values, key=_numbers_apart)
    }


def _numbers_apart(text: str) -> list[str | int]:
    """A key that sorts 40X before 100X."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", text)]


def _notes(catalog: Catalog) -> Iterable[str]:
    if catalog.left_out:
        yield f"{len(catalog.left_out)} images left out: second copies of a slide filed under two subtypes"
    if catalog.passed_over:
        yield f"{len(catalog.passed_over)} other files passed over"


def _check_files(catalog: Catalog) -> tuple[list[str], tuple[str, ...]]:
    """Problems of files, and what was not looked for."""
    if not isinstance(catalog.source, Folder):
        sizes = dict(catalog.sizes)
        problems = [f"{image.path}: zero bytes" for image in catalog.images if not sizes[image.path]]
        return problems, ("what the files hold: those in an archive are not opened here, but by a run",)
    folder = catalog.source.folder
    bad = check_headers(folder, [image.path for image in catalog.images])
    copies = find_copies(folder, [image for image in catalog.images if image.path not in bad])
    not_checked = [
        "pixels: damage between the first and last bytes is found by a run, and so are equal pixels"
    ]
    if copies is None:
        not_checked.append("equal files under several patients: too many are of one size; a run finds them")
    return [*(f"{path}: {reason}" for path, reason in bad.items()), *(copies or [])], tuple(not_checked)
