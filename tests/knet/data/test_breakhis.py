"""BreaKHis names, against the list of all 7,909 files and against invalid names."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.data.breakhis import SUBTYPES, parse_name, parse_path
from knet.data.source import ImageFile

FOLDER = "benign/SOB/adenosis/SOB_B_A_14-22549AB/40X"
NAME = "SOB_B_A-14-22549AB-40-001.png"


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[dict[str, str]]:
    with (shared_data / "breakhis_manifest" / "breakhis_v1_files.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_parse_path_of_every_image_equals_the_list(rows: list[dict[str, str]]) -> None:
    assert len(rows) == 7909
    for row in rows:
        image = parse_path(row["path"].removeprefix("BreaKHis_v1/histology_slides/breast/"))
        assert (image.label, image.patient) == (row["label"], row["accession"])
        assert image.columns == (
            ("slide", row["slide_id"]),
            ("subtype", row["subtype"]),
            ("magnification", row["magnification"]),
            ("year", row["accession"][:2]),
            ("sequence", row["filename"][-7:-4]),
        )
        assert parse_name(row["filename"]) == image


@given(
    code=st.sampled_from(sorted(SUBTYPES)),
    year=st.integers(0, 99),
    number=st.integers(0, 10**6),
    suffix=st.text("ABCDEFG", max_size=3),
    magnification=st.sampled_from([40, 100, 200, 400]),
    sequence=st.integers(0, 999),
)
def test_parse_name_of_any_parts(
    code: str, year: int, number: int, suffix: str, magnification: int, sequence: int
) -> None:
    letter = "B" if code in ("A", "F", "PT", "TA") else "M"
    slide = f"{year:02}-{number}{suffix}"
    image = parse_name(f"SOB_{letter}_{code}-{slide}-{magnification}-{sequence:03}.png")
    assert image.patient == f"{year:02}-{number}"
    assert (image.column("slide"), image.column("sequence")) == (slide, f"{sequence:03}")
    assert parse_path(image.path) == image


@given(st.text() | st.text("SOB_AMDCPTFL-0123456789.png/", max_size=60))
def test_parse_path_of_any_text_returns_or_states_a_reason(text: str) -> None:
    try:
        image = parse_path(text)
    except ValueError as error:
        assert "outside the grammar" in str(error) or "belongs in" in str(error)
    else:
        assert isinstance(image, ImageFile) and image.path == text


def test_parse_path_accepts_the_suffix_in_capital_letters() -> None:
    folder = "benign/SOB/adenosis/SOB_B_A_14-22549AB/40X"
    image = parse_path(f"{folder}/SOB_B_A-14-22549AB-40-001.PNG")
    assert image.path == f"{folder}/SOB_B_A-14-22549AB-40-001.PNG" and image.patient == "14-22549"


@pytest.mark.parametrize(
    "name",
    [
        "photo.png",
        "SOB_B_A-14-22549AB-40-001.jpg",
        "SOB_B_A-14-22549AB-40-001.png.bak",
        "SOB_B_A-14-22549AB-50-001.png",  # no such magnification
        "SOB_B_A-14-22549AB-40-1.png",
        "SOB_B_XX-14-22549AB-40-001.png",  # no such subtype
        "SOB_U_A-14-22549AB-40-001.png",  # no such class
        "SOB_B_A-2014-22549AB-40-001.png",
        "SOB_B_A-14-AB-40-001.png",
        "SOB_B_A-14-22549ab-40-001.png",
        "SOB_B_A-14-\u0662\u0662549AB-40-001.png",  # digits, but not ours
        " SOB_B_A-14-22549AB-40-001.png",
        "SOB_B_A-14-22549AB-40-001.png\n",
    ],
)
def test_parse_path_refuses_a_name_outside_the_grammar(name: str) -> None:
    with pytest.raises(ValueError, match=r"the name is outside the grammar SOB_<B\|M>"):
        parse_path(f"{FOLDER}/{name}")


@pytest.mark.parametrize(
    "folder",
    [
        "benign/SOB/adenosis/SOB_B_A_14-22549AB/100X",
        "benign/SOB/adenosis/SOB_B_A_14-22549CD/40X",
        "benign/SOB/fibroadenoma/SOB_B_A_14-22549AB/40X",
        "malignant/SOB/adenosis/SOB_B_A_14-22549AB/40X",
        "benign/SOB/adenosis/SOB_B_A_14-22549AB",
        "benign",
        f"/{FOLDER}",
    ],
)
def test_parse_path_refuses_a_folder_that_contradicts_the_name(folder: str) -> None:
    with pytest.raises(ValueError, match=f"by its name it belongs in {FOLDER}/{NAME}"):
        parse_path(f"{folder}/{NAME}")


def test_parse_path_refuses_a_subtype_of_another_class() -> None:
    with pytest.raises(ValueError, match="by its name it belongs in benign/SOB/ductal_carcinoma"):
        parse_path(f"{FOLDER}/SOB_B_DC-14-22549AB-40-001.png")
