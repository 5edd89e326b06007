"""Splits of random catalogs and of all of BreaKHis."""

from __future__ import annotations

import csv
import itertools
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.base import schema_names
from knet.base.errors import UserError
from knet.data.breakhis import SUBTYPES, parse_path
from knet.data.download import official_names
from knet.data.shards import plan_shards
from knet.data.source import ImageFile
from knet.data.split import Split, make_split, slice_notes

Images = list[ImageFile]

seeds = st.integers(0, 2**31 - 1)
methods = st.one_of(
    st.fixed_dictionaries({"test_share": st.floats(0.01, 0.99), "validation_share": st.floats(0.01, 0.99)}),
    st.integers(2, 4).flatmap(
        lambda folds: st.fixed_dictionaries({"folds": st.just(folds), "fold": st.integers(0, folds - 1)})
    ),
)


def make(images: Images, **settings: Any) -> Split:
    defaults: dict[str, Any] = {
        "classes": ("benign", "malignant"),
        "slices": ("magnification", "subtype"),
        "seed": 0,
        "test_share": 0.1,
        "validation_share": 0.2,
    }
    return make_split(images, **(defaults | settings))


def images_of_patients(benign: int, malignant: int, *, slides: int = 1) -> Images:
    return [
        ImageFile(f"{label}/{year}-{number}{slide}.png", label, f"{year}-{number}", (("slide", slide),))
        for label, year, patients in (("benign", 13, benign), ("malignant", 14, malignant))
        for number in range(patients)
        for slide in "ABC"[:slides]
    ]


@st.composite
def catalogs(draw: st.DrawFn) -> Images:
    patients = st.integers(4, 40)
    images = images_of_patients(draw(patients), draw(patients), slides=3)
    return [image for image in images if image.column("slide") == "A" or draw(st.booleans())]


def counts_by_class(images: Images, assignment: dict[str, Any]) -> dict[str, Counter[str]]:
    """Count patients by class and split."""
    classes = {image.patient: image.label for image in images}
    return {
        label: Counter(assignment[patient] for patient, of in classes.items() if of == label)
        for label in ("benign", "malignant")
    }


@given(catalogs(), methods, seeds)
def test_make_split_never_divides_a_patient_or_misses_a_class(
    images: Images, method: dict[str, Any], seed: int
) -> None:
    split = make(images, seed=seed, **method)
    assignment = split.assignment
    plan = plan_shards(images, split.split_of, seed=seed, image_bytes=1)
    shard_of = np.searchsorted(plan.starts, plan.places, side="right") - 1
    written = {
        (image.patient, plan.shards[shard].split) for image, shard in zip(images, shard_of, strict=True)
    }
    assert len(written) == len({image.patient for image in images})
    for counts in counts_by_class(images, assignment).values():
        assert counts.keys() == set(schema_names.SPLITS)


@given(catalogs(), methods, seeds)
def test_make_split_by_folder_never_divides_a_slide(
    images: Images, method: dict[str, Any], seed: int
) -> None:
    images = [replace(image, path=f"{n}{image.path}") for image in images for n in range(2)]
    split = make(images, seed=seed, unit="folder", **method)
    slides = {(image.patient, image.column("slide")) for image in images}
    assert len({(image.patient, image.column("slide"), split.split_of(image)) for image in images}) == len(
        slides
    )
    assert {split.split_of(image) for image in images} == set(schema_names.SPLITS)


@given(seeds)
def test_make_split_by_image_divides_patients(seed: int) -> None:
    images = images_of_patients(20, 20, slides=3)
    split = make(images, seed=seed, unit="image")
    assert Counter(map(split.split_of, images)) == {"train": 86, "validation": 22, "test": 12}
    placed = {(image.patient, split.split_of(image)) for image in images}
    assert len(placed) > len({image.patient for image in images})
    assert split.unit == "image" and make(images, seed=seed).unit == "patient"
    assert "unit" not in make(images, seed=seed).made


def test_make_split_by_folder_needs_slides() -> None:
    images = [replace(image, columns=()) for image in images_of_patients(4, 4)]
    with pytest.raises(UserError, match=r"^data\.split\.unit: folder needs the column slide"):
        make(images, slices=(), unit="folder")


@given(catalogs(), methods, seeds, st.randoms(use_true_random=False))
def test_make_split_ignores_the_order_of_images(
    images: Images, method: dict[str, Any], seed: int, shuffler: random.Random
) -> None:
    shuffled = list(images)
    shuffler.shuffle(shuffled)
    one, other = (make(order, seed=seed, **method) for order in (images, shuffled))
    assert one == other
    assert one.sha256 == other.sha256


@given(catalogs(), methods, seeds)
def test_make_split_ignores_further_images_of_a_patient(
    images: Images, method: dict[str, Any], seed: int
) -> None:
    first = list({image.patient: image for image in images}.values())
    one, other = (make(of, seed=seed, **method).assignment for of in (images, first))
    assert one == other


@given(catalogs(), methods, seeds, seeds)
def test_frozen_split_is_the_same_under_any_seed(
    tmp_path_factory: pytest.TempPathFactory, images: Images, method: dict[str, Any], seed: int, other: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "frozen"
    split = make(images, seed=seed, **method)
    file.write_text(json.dumps(split.frozen()), encoding="utf-8")
    again = make(images, seed=other, file=str(file))
    assert again == split
    assert again.sha256 == split.sha256


def test_make_split_depends_on_the_seed() -> None:
    splits = [make(images_of_patients(20, 20), seed=seed).assignment for seed in range(3)]
    assert splits[0] != splits[1] != splits[2] != splits[0]


def test_make_split_is_the_same_in_every_version() -> None:
    """A changed assignment would move test patients into training unseen."""
    shares = {"test_share": 0.25, "validation_share": 0.25}
    splits = make(images_of_patients(4, 5), seed=7, **shares).assignment
    assert sorted(patient for patient, split in splits.items() if split == "test") == ["13-0", "14-4"]


def test_split_states_its_settings() -> None:
    images = images_of_patients(5, 5)
    assert make(images, seed=4).made == {"by": "shares", "test_share": 0.1, "validation_share": 0.2}
    assert make(images, folds=5, fold=3).made == {
        "by": "folds",
        "folds": 5,
        "fold": 3,
        "validation_share": 0.2,
    }
    assert make(images, seed=4).seed == 4


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot read .*split: .*No such file or directory.*; name a split file or a fold"),
        (b"\xff\xfe\x00", "cannot read .*split: "),
        (b" \n", "split is empty"),
        (b"{}", "split is not a split file of this version"),
        (b"a,b\n", "split is neither a frozen split nor an official fold"),
    ],
)
def test_make_split_with_an_unusable_file_is_refused(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    file = tmp_path / "split"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=problem):
        make(images_of_patients(5, 5), file=file)


_FOLD_LINES = (
    *(
        "filename,magnification,number,split",
        "SOB_B_A-13-0-40-001.png|40|1|train",
        "\n",
        "\r",
        "|",
        ",",
        '"',
        "\0",
    ),
    *("SOB_M_DC-14-0-40-001.png,40,1,test", "x" * 140_000, "9" * 5_000, "\u0663", "\ufeff"),
)
_JSON_PARTS = (
    '{"seed": ',
    '"made": {',
    "}",
    "[" * 2_000,
    "]",
    ",",
    "1e999",
    "NaN",
    "9" * 5_000,
    '"\\ud800": ',
    "\0",
)
_keys = st.sampled_from([*Split.model_fields, "sha256", "\ud800"]) | st.text(max_size=4)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just("train"),
    lambda of: st.lists(of, max_size=3) | st.dictionaries(_keys, of, max_size=3),
    max_leaves=8,
)
_contents = st.one_of(
    st.binary(),
    st.lists(st.sampled_from(_FOLD_LINES), max_size=8).map("".join).map(str.encode),
    st.lists(st.sampled_from(_JSON_PARTS), max_size=8).map("".join).map(lambda text: b"{" + text.encode()),
    st.dictionaries(_keys, _values).map(json.dumps).map(str.encode),
)


@given(content=_contents)
def test_make_split_with_any_content_of_a_file_names_it(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any-split"
    file.write_bytes(content)
    images = images_of_patients(5, 5)
    try:
        split = make(images, file=file)
    except UserError as error:
        assert "any-split" in str(error)
        str(error).encode()  # can be printed
    else:
        assert {image.patient for image in images} <= split.assignment.keys()


@pytest.fixture(scope="module")
def manifest(shared_data: Path) -> Path:
    return shared_data / "breakhis_manifest"


@pytest.fixture(scope="module")
def all_images() -> Images:
    return [parse_path(path) for path in sorted(official_names())]


@pytest.fixture(scope="module")
def official(all_images: Images, manifest: Path) -> Split:
    return make(all_images, file=manifest / "dsfold1_table.csv")


def test_make_split_of_breakhis_by_the_shares_of_the_paper(all_images: Images) -> None:
    assignment = make(all_images).assignment
    assert len(assignment) == 70
    assert counts_by_class(all_images, assignment) == {
        "benign": {"train": 11, "validation": 3, "test": 2},
        "malignant": {"train": 39, "validation": 10, "test": 5},
    }


@pytest.mark.slow
@given(seed=seeds, method=methods)
def test_make_split_of_breakhis_never_divides_a_slide(
    all_images: Images, seed: int, method: dict[str, Any]
) -> None:
    assignment = make(all_images, seed=seed, **method).assignment
    pairs = {(image.column("slide"), assignment[image.patient]) for image in all_images}
    assert len(pairs) == 81


def test_make_split_of_breakhis_notes_adenosis(all_images: Images) -> None:
    for seed in range(5):
        (note,) = [note for note in make(all_images, seed=seed).notes if note.startswith("subtype adenosis")]
        assert note.startswith("subtype adenosis: 2 patients, too few for three splits; none in ")


def by_subtype(images: Images, *classes: str) -> Images:
    labelled = [replace(image, label=image.column("subtype")) for image in images]
    return [image for image in labelled if not classes or image.label in classes]


def test_make_split_of_all_eight_subtypes_names_adenosis(all_images: Images) -> None:
    message = r"too few patients: adenosis has 2 \(14-22549, 14-29960\), but train, validation and test need"
    with pytest.raises(UserError, match=message):
        make(by_subtype(all_images), classes=tuple(SUBTYPES.values()))


@pytest.mark.parametrize("method", [{}, {"folds": 3, "fold": 1}], ids=["shares", "folds"])
def test_make_split_of_subtypes_has_each_in_every_split(all_images: Images, method: dict[str, int]) -> None:
    classes = [name for name in SUBTYPES.values() if name != "adenosis"]
    images = by_subtype(all_images, *classes)
    assignment = make(images, classes=classes, slices=("magnification",), **method).assignment
    found = {(image.label, assignment[image.patient]) for image in images}
    assert found == set(itertools.product(classes, schema_names.SPLITS))


def test_make_split_of_breakhis_by_five_folds(all_images: Images) -> None:
    tests = []
    for fold in range(5):
        counts = counts_by_class(all_images, make(all_images, folds=5, fold=fold).assignment)
        tests.append((counts["benign"]["test"], counts["malignant"]["test"]))
    assert [sum(test) for test in tests] == [14] * 5
    assert Counter(benign for benign, _ in tests) == {3: 4, 4: 1}


def test_official_fold_names_its_eight_leaked_patients(official: Split) -> None:
    assert official.notes[0].startswith(
        "dsfold1_table.csv leaks 8 patients, with images in both train and test: 14-13412, 14-15570, "
        "14-16184, 14-18842, 14-19979, 14-21998, 14-22549, 14-29960; here all "
    )


def test_official_fold_tests_every_test_image(official: Split, all_images: Images, manifest: Path) -> None:
    with (manifest / "dsfold1_table.csv").open(encoding="utf-8") as file:
        tested = {row["filename"] for row in csv.DictReader(file) if row["split"] == "test"}
    of_image = {image.path.rpartition("/")[2]: official.assignment[image.patient] for image in all_images}
    assert {of_image[name] for name in tested} == {"test"}
    assert counts_by_class(all_images, official.assignment) == {
        "benign": {"train": 6, "validation": 2, "test": 8},
        "malignant": {"train": 28, "validation": 7, "test": 19},
    }


def test_official_fold_can_be_frozen(official: Split, all_images: Images, tmp_path: Path) -> None:
    (tmp_path / "frozen.json").write_text(json.dumps(official.frozen(), indent=1), encoding="utf-8")
    assert make(all_images, file=tmp_path / "frozen.json") == official


def test_official_fold_notes_the_excluded_copy_of_slide_14_13412(all_images: Images, manifest: Path) -> None:
    images = [
        image
        for image in all_images
        if not image.path.startswith("malignant/SOB/lobular_carcinoma/SOB_M_LC_14-13412")
    ]
    split = make(images, file=manifest / "dsfold1_table.csv")
    assert split.assignment["14-13412"] == "test"
    assert split.notes[1].startswith(
        "123 images of dsfold1_table.csv are not in the data, or excluded: SOB_M_LC-14-13412-100-001.png"
    )


ASSIGNMENT = {"1": "train", "2": "validation", "3": "test", "4": "train"}


def notes(*values: tuple[str, str]) -> list[str]:
    """Return the slice notes of images, one for each patient and subtype."""
    images = [
        ImageFile(f"{patient}.png", "benign", patient, (("subtype", subtype), ("slide", patient)))
        for patient, subtype in values
    ]
    return slice_notes(images, lambda image: ASSIGNMENT[image.patient], slices=("magnification", "subtype"))


def test_slice_notes_of_a_value_in_every_split_are_empty() -> None:
    assert notes(("1", "adenosis"), ("2", "adenosis"), ("3", "adenosis")) == []


def test_slice_notes_of_too_few_patients_name_the_splits() -> None:
    assert notes(("1", "adenosis"), ("1", "adenosis"), ("3", "adenosis")) == [
        "subtype adenosis: 2 patients, too few for three splits; none in validation"
    ]
    assert notes(("4", "adenosis")) == [
        "subtype adenosis: 1 patient, too few for three splits; none in validation and test"
    ]


def test_slice_notes_of_enough_patients_omit_too_few() -> None:
    assert notes(("1", "adenosis"), ("4", "adenosis"), ("3", "adenosis")) == [
        "subtype adenosis: 3 patients; none in validation"
    ]


def test_slice_notes_ignore_other_columns() -> None:
    assert notes(("1", "a"), ("2", "a"), ("3", "a"), ("4", "a")) == []
