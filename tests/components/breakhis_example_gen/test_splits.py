"""The split's promises, on random catalogs and on all of BreaKHis."""

from __future__ import annotations

import csv
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.splits import split_patients
from pipeline import features
from pipeline.errors import UserError

Images = list[ImageFile]

shares = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**31 - 1)


def images_of(label: str, patient: str, *, slides: int = 1) -> Images:
    return [
        ImageFile(f"{label}/{patient}{suffix}.png", label, patient, (("slide", patient + suffix),))
        for suffix in "ABC"[:slides]
    ]


def images_of_patients(benign: int, malignant: int, *, slides: int = 1) -> Images:
    return [
        image
        for label, year, patients in (("benign", 13, benign), ("malignant", 14, malignant))
        for number in range(patients)
        for image in images_of(label, f"{year}-{number}", slides=slides)
    ]


@st.composite
def catalogs(draw: st.DrawFn) -> Images:
    patients = st.integers(3, 40)
    images = images_of_patients(draw(patients), draw(patients), slides=3)
    return [image for image in images if image.column("slide").endswith("A") or draw(st.booleans())]


def counts_by_class(images: Images, splits: dict[str, str]) -> dict[str, Counter[str]]:
    """How many patients of each class each split has."""
    classes = {image.patient: image.label for image in images}
    return {
        label: Counter(splits[patient] for patient, of in classes.items() if of == label)
        for label in features.CLASSES
    }


@given(catalogs(), shares, shares, seeds)
def test_every_patient_is_in_exactly_one_split(
    images: Images, test_share: float, validation_share: float, seed: int
) -> None:
    splits = split_patients(images, test_share=test_share, validation_share=validation_share, seed=seed)
    assert splits.keys() == {image.patient for image in images}
    assert set(splits.values()) == set(features.SPLITS)


@given(catalogs(), shares, shares, seeds)
def test_every_split_has_patients_of_both_classes(
    images: Images, test_share: float, validation_share: float, seed: int
) -> None:
    splits = split_patients(images, test_share=test_share, validation_share=validation_share, seed=seed)
    for counts in counts_by_class(images, splits).values():
        assert counts.keys() == set(features.SPLITS)


@given(catalogs(), shares, shares, seeds)
def test_each_class_has_the_asked_shares_to_within_one_patient(
    images: Images, test_share: float, validation_share: float, seed: int
) -> None:
    splits = split_patients(images, test_share=test_share, validation_share=validation_share, seed=seed)
    for counts in counts_by_class(images, splits).values():
        patients = counts.total()
        rest = (1 - test_share) * patients
        # Where a share is less than one patient, "at least one each" has its way.
        assume(min(test_share * patients, validation_share * rest, (1 - validation_share) * rest) >= 1)
        assert abs(counts["test"] - test_share * patients) <= 1
        assert abs(counts["validation"] - validation_share * (patients - counts["test"])) <= 1


@given(catalogs(), seeds, st.randoms(use_true_random=False))
def test_the_order_of_images_does_not_matter(images: Images, seed: int, shuffler: random.Random) -> None:
    shuffled = list(images)
    shuffler.shuffle(shuffled)
    one, other = (
        split_patients(order, test_share=0.2, validation_share=0.2, seed=seed) for order in (images, shuffled)
    )
    assert one == other


@given(catalogs(), seeds)
def test_further_images_of_the_same_patients_do_not_matter(images: Images, seed: int) -> None:
    first = list({image.patient: image for image in images}.values())
    one, other = (
        split_patients(of, test_share=0.2, validation_share=0.2, seed=seed) for of in (images, first)
    )
    assert one == other


def test_the_seed_chooses_who_is_where() -> None:
    images = images_of_patients(20, 20)
    splits = [split_patients(images, test_share=0.2, validation_share=0.2, seed=seed) for seed in range(3)]
    assert splits[0] != splits[1] != splits[2] != splits[0]


def test_a_split_is_the_same_in_every_version() -> None:
    """A changed assignment would move test patients into training unseen."""
    splits = split_patients(images_of_patients(4, 5), test_share=0.25, validation_share=0.25, seed=7)
    tests = sorted(patient for patient, split in splits.items() if split == "test")
    assert tests == ["13-0", "14-4"]


@pytest.fixture(scope="module")
def all_images(shared_data: Path) -> Images:
    with (shared_data / "breakhis_manifest" / "breakhis_v1_files.csv").open(encoding="utf-8") as file:
        return [
            ImageFile(
                row["path"],
                row["label"],
                row["accession"],
                (("slide", row["slide_id"]), ("subtype", row["subtype"])),
            )
            for row in csv.DictReader(file)
        ]


def test_the_paper_s_shares_of_all_70_patients(all_images: Images) -> None:
    splits = split_patients(all_images, test_share=0.1, validation_share=0.2, seed=0)
    assert len(splits) == 70
    assert counts_by_class(all_images, splits) == {
        "benign": {"train": 11, "validation": 3, "test": 2},
        "malignant": {"train": 39, "validation": 10, "test": 5},
    }


@given(seed=seeds)
def test_no_slide_of_breakhis_is_in_two_splits(all_images: Images, seed: int) -> None:
    splits = split_patients(all_images, test_share=0.1, validation_share=0.2, seed=seed)
    pairs = {(image.column("slide"), splits[image.patient]) for image in all_images}
    assert len(pairs) == 81


@pytest.mark.parametrize(("benign", "malignant", "missing"), [(0, 9, "benign"), (9, 0, "malignant")])
def test_one_class_alone_is_refused(benign: int, malignant: int, missing: str) -> None:
    with pytest.raises(UserError, match=f"no {missing} images: both classes, benign and malignant, are"):
        split_patients(images_of_patients(benign, malignant), test_share=0.1, validation_share=0.2, seed=0)


def test_no_images_at_all_are_refused() -> None:
    with pytest.raises(UserError, match="no benign images"):
        split_patients([], test_share=0.1, validation_share=0.2, seed=0)


def test_too_few_patients_are_named() -> None:
    with pytest.raises(UserError, match=r"too few patients: malignant has 2 \(14-0, 14-1\), .* add images"):
        split_patients(images_of_patients(3, 2, slides=3), test_share=0.1, validation_share=0.2, seed=0)


def test_a_patient_in_both_classes_is_named_with_a_file() -> None:
    images = [*images_of_patients(3, 3), *images_of("malignant", "13-1")]
    with pytest.raises(UserError, match=r"patient 13-1 has both .* check malignant/13-1A\.png"):
        split_patients(images, test_share=0.1, validation_share=0.2, seed=0)
