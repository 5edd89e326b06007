"""Makes the split that the configuration asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.splits.check_frozen_split import check_frozen_split
from components.breakhis_example_gen.splits.grouped_folds import grouped_folds
from components.breakhis_example_gen.splits.grouped_split import grouped_split
from components.breakhis_example_gen.splits.official_split import official_split
from components.breakhis_example_gen.splits.patient_order import patient_order
from components.breakhis_example_gen.splits.read_official_fold import read_official_fold
from components.breakhis_example_gen.splits.slice_notes import slice_notes
from components.breakhis_example_gen.splits.split import Split, read_split
from pipeline.errors import UserError

_Made = dict[str, str | int | float]


def make_split(
    images: Collection[ImageFile],
    *,
    classes: Sequence[str],
    slices: Sequence[str],
    seed: int,
    test_share: float,
    validation_share: float,
    folds: int | None = None,
    fold: int | None = None,
    file: str | Path | None = None,
) -> Split:
    """Divides patients: by a file where there is one, else by folds where they are set, else by shares.

    The same patients, settings and seed always give the same split.

    Args:
        images: of the data.
        classes: names of the classes.
        slices: columns whose values should be in every split; where they are not, the split has a note.
        seed: of the order in which patients are taken.
        test_share: of all patients, class by class.
        validation_share: of the patients that are not for test, likewise.
        folds: of a cross-validation.
        fold: the one of them for test, from 0.
        file: a split that was made before, or an official fold; its content tells which.

    Raises:
        UserError: the patients cannot be divided so, or the file does not fit; the text says what to do.
    """
    order = patient_order(images, classes=classes, seed=seed)
    shares: _Made = {"validation_share": validation_share}
    if file is not None:
        split = _by_file(images, order, Path(file), validation_share, seed)
    elif folds is not None and fold is not None:
        assignment = grouped_folds(order, folds=folds, fold=fold, validation_share=validation_share)
        made: _Made = {"by": "folds", "folds": folds, "fold": fold, **shares}
        split = Split(seed=seed, made=made, assignment=assignment)
    else:
        assignment = grouped_split(order, test_share=test_share, validation_share=validation_share)
        split = Split(
            seed=seed, made={"by": "shares", "test_share": test_share, **shares}, assignment=assignment
        )
    found = slice_notes(images, split.assignment, slices=slices)
    return split.model_copy(update={"notes": tuple(dict.fromkeys((*split.notes, *found)))})


def _by_file(
    images: Collection[ImageFile],
    order: Mapping[str, Sequence[str]],
    file: Path,
    validation_share: float,
    seed: int,
) -> Split:
    try:
        content = file.read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"data.split.file: cannot read {file}: {error}; name a split file or a fold"
        ) from None
    if not text.strip():
        raise UserError(f"data.split.file: {file} is empty")
    if text.lstrip().startswith("{"):
        split = read_split(text, file)
        notes = check_frozen_split(split, order, file=file)
        return split.model_copy(update={"notes": (*split.notes, *notes)})
    number, rows = read_official_fold(text, file)
    assignment, notes = official_split(images, order, rows, file=file, validation_share=validation_share)
    made: _Made = {
        "by": "official fold",
        "fold": number,
        "file_sha256": hashlib.sha256(content).hexdigest(),
        "validation_share": validation_share,
    }
    return Split(seed=seed, made=made, assignment=assignment, notes=tuple(notes))
