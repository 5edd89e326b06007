"""The catalog against the list of all 7,909 files of BreaKHis, and against folders that are wrong."""

from __future__ import annotations

import csv
import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.breakhis_example_gen.catalog import Catalog, check_files, read_catalog
from components.breakhis_example_gen.image_file import ImageFile
from pipeline.errors import UserError

BENIGN = "SOB_B_A-14-22549AB-40-001.png"
MALIGNANT = "SOB_M_DC-14-2523-400-012.png"
SLIDE_FOLDER = "histology_slides/breast/benign/SOB/adenosis/SOB_B_A_14-22549AB"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
BREAST = "BreaKHis_v1/histology_slides/breast/"


@pytest.fixture(scope="module")
def manifest(shared_data: Path) -> dict[str, dict[str, str]]:
    """The rows of the list of all files, by path below `breast`."""
    with (shared_data / "breakhis_manifest" / "breakhis_v1_files.csv").open(encoding="utf-8") as file:
        return {row["path"].removeprefix(BREAST): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def full_folder(manifest: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole data set as empty files: the catalog opens none."""
    folder = tmp_path_factory.mktemp("full")
    for row in manifest.values():
        path = folder / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.fixture(scope="module")
def full(full_folder: Path) -> Catalog:
    return read_catalog(full_folder, keep_duplicate_slides=True)


@pytest.fixture(scope="module")
def without_duplicates(full_folder: Path) -> Catalog:
    return read_catalog(full_folder)


def test_every_image_is_read_as_the_manifest_has_it(
    full: Catalog, manifest: dict[str, dict[str, str]]
) -> None:
    expected = {
        ImageFile(
            path=path,
            label=row["label"],
            patient=row["accession"],
            columns=(
                ("slide", row["slide_id"]),
                ("subtype", row["subtype"]),
                ("magnification", row["magnification"]),
                ("year", row["slide_id"][:2]),
                ("sequence", row["filename"][-7:-4]),
            ),
        )
        for path, row in manifest.items()
    }
    assert set(full.images) == expected
    assert len(full.images) == 7909


def test_images_are_sorted_by_path(full: Catalog) -> None:
    paths = [image.path for image in full.images]
    assert paths == sorted(paths)


def of_image(image: ImageFile, name: str) -> str:
    return image.label if name == "label" else image.column(name)


@pytest.mark.parametrize(
    ("of", "counts"),
    [
        ("label", {"benign": 2480, "malignant": 5429}),
        ("magnification", {"40X": 1995, "100X": 2081, "200X": 2013, "400X": 1820}),
        (
            "subtype",
            {
                "adenosis": 444,
                "fibroadenoma": 1014,
                "phyllodes_tumor": 453,
                "tubular_adenoma": 569,
                "ductal_carcinoma": 3451,
                "lobular_carcinoma": 626,
                "mucinous_carcinoma": 792,
                "papillary_carcinoma": 560,
            },
        ),
    ],
)
def test_counts_are_those_of_the_data_set(full: Catalog, of: str, counts: dict[str, int]) -> None:
    assert Counter(of_image(image, of) for image in full.images) == counts


def test_benign_and_malignant_at_each_magnification(full: Catalog) -> None:
    benign = Counter(image.column("magnification") for image in full.images if image.label == "benign")
    assert benign == {"40X": 625, "100X": 644, "200X": 623, "400X": 588}


def test_there_are_70_patients_with_81_slides(full: Catalog) -> None:
    patients = {image.label: set[str]() for image in full.images}
    for image in full.images:
        patients[image.label].add(image.patient)
    assert {label: len(of) for label, of in patients.items()} == {"benign": 16, "malignant": 54}
    assert len({image.column("slide") for image in full.images}) == 81


def test_the_lobular_copies_of_the_slide_filed_twice_are_left_out(without_duplicates: Catalog) -> None:
    assert len(without_duplicates.images) == 7786
    assert {(image.column("slide"), image.column("subtype")) for image in without_duplicates.left_out} == {
        ("14-13412", "lobular_carcinoma")
    }
    assert len(without_duplicates.left_out) == 123


def test_one_copy_of_the_slide_filed_twice_is_kept(without_duplicates: Catalog) -> None:
    kept = [
        image.column("subtype") for image in without_duplicates.images if image.column("slide") == "14-13412"
    ]
    assert kept == ["ductal_carcinoma"] * 123


def test_both_copies_of_the_slide_filed_twice_are_kept_on_demand(full: Catalog) -> None:
    assert full.left_out == ()
    subtypes = Counter(
        image.column("subtype") for image in full.images if image.column("slide") == "14-13412"
    )
    assert subtypes == {"ductal_carcinoma": 123, "lobular_carcinoma": 123}


@pytest.mark.parametrize(
    "named", ["..", ".", "histology_slides", "histology_slides/breast"], ids=lambda named: f"[{named}]"
)
def test_any_folder_from_the_parent_down_to_breast_may_be_named(
    breakhis: Callable[..., Path], named: str
) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    catalog = read_catalog(root / named)
    assert catalog.root.resolve() == root / "histology_slides" / "breast"
    assert [Path(image.path).name for image in catalog.images] == [BENIGN, MALIGNANT]


@pytest.mark.parametrize(
    "left",
    ["Thumbs.db", "desktop.ini", ".DS_Store", f"._{BENIGN}", ".cache/image.png"],
)
def test_what_file_managers_leave_behind_is_passed_over(breakhis: Callable[..., Path], left: str) -> None:
    root = breakhis(BENIGN)
    path = root / SLIDE_FOLDER / left
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"thumbnails")
    assert len(read_catalog(root).images) == 1


def test_files_beside_the_classes_are_passed_over(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN)
    (root / "histology_slides" / "breast" / "README.txt").touch()
    assert len(read_catalog(root).images) == 1


def test_a_linked_folder_is_read(breakhis: Callable[..., Path], tmp_path: Path) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    target = (root / SLIDE_FOLDER).rename(tmp_path / "elsewhere")
    (root / SLIDE_FOLDER).symlink_to(target, target_is_directory=True)
    assert len(read_catalog(root).images) == 2


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"no such data folder: {tmp_path}/none"):
        read_catalog(tmp_path / "none")


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "BreaKHis_v1.tar.gz"
    file.touch()
    with pytest.raises(UserError, match=f"no such data folder: {file}"):
        read_catalog(file)


def test_a_folder_laid_out_otherwise_is_named_with_the_expected_layout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path} is not a BreaKHis folder: expected BreaKHis_v1/"):
        read_catalog(tmp_path)


def test_a_class_folder_alone_is_not_a_data_folder(breakhis: Callable[..., Path]) -> None:
    folder = breakhis(BENIGN) / "histology_slides" / "breast" / "benign"
    with pytest.raises(UserError, match=f"{folder} is not a BreaKHis folder"):
        read_catalog(folder)


def test_folders_without_images_are_named_with_the_grammar(tmp_path: Path) -> None:
    (tmp_path / "benign" / "SOB").mkdir(parents=True)
    with pytest.raises(UserError, match=rf"no images found in {tmp_path}: .*SOB_<B\|M>"):
        read_catalog(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "photo.png",
        "SOB_B_A-14-22549AB-40-001.jpg",
        "SOB_B_A-14-22549AB-40-001.PNG",
        "SOB_B_A-14-22549AB-40-001.png.bak",
        "SOB_B_A-14-22549AB-50-001.png",  # no such magnification
        "SOB_B_A-14-22549AB-40-1.png",
        "SOB_B_XX-14-22549AB-40-001.png",  # no such subtype
        "SOB_U_A-14-22549AB-40-001.png",  # no such class
        "SOB_B_A-2014-22549AB-40-001.png",
        "SOB_B_A-14-AB-40-001.png",
        "SOB_B_A-14-22549ab-40-001.png",
        " SOB_B_A-14-22549AB-40-001.png",
        "SOB_B_A-14-22549AB-40-001.png\n",
    ],
)
def test_a_name_outside_the_grammar_is_refused(breakhis: Callable[..., Path], name: str) -> None:
    root = breakhis(BENIGN)
    (root / SLIDE_FOLDER / "40X" / name).touch()
    with pytest.raises(UserError) as caught:
        read_catalog(root)
    assert name in str(caught.value)
    assert "outside the grammar SOB_<B|M>" in str(caught.value)


@pytest.mark.parametrize(
    "folder",
    [
        "benign/SOB/adenosis/SOB_B_A_14-22549AB/100X",
        "benign/SOB/adenosis/SOB_B_A_14-22549CD/40X",
        "benign/SOB/fibroadenoma/SOB_B_A_14-22549AB/40X",
        "malignant/SOB/adenosis/SOB_B_A_14-22549AB/40X",
        "benign/SOB/adenosis/SOB_B_A_14-22549AB",
        "benign",
    ],
)
def test_a_folder_that_contradicts_the_name_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / BENIGN).touch()
    with pytest.raises(UserError) as caught:
        read_catalog(tmp_path)
    assert f"{folder}/{BENIGN}: by its name it belongs in benign/SOB/adenosis" in str(caught.value)


def test_a_benign_name_with_a_malignant_subtype_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "benign/SOB/adenosis/SOB_B_A_14-22549AB/40X"
    folder.mkdir(parents=True)
    (folder / "SOB_B_DC-14-22549AB-40-001.png").touch()
    with pytest.raises(UserError, match="by its name it belongs in"):
        read_catalog(tmp_path)


def test_a_message_lists_ten_problems_and_counts_the_rest(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN)
    for number in range(13):
        (root / SLIDE_FOLDER / f"photo{number}.png").touch()
    with pytest.raises(UserError, match="13 files in .* are not BreaKHis images") as caught:
        read_catalog(root)
    assert str(caught.value).count("/photo") == 10
    assert str(caught.value).endswith("and 3 more")


def test_real_images_are_whole(shared_data: Path) -> None:
    catalog = read_catalog(shared_data / "breakhis_real")
    assert len(catalog.images) == 116
    assert len(check_files(catalog)) == 64


def png_chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(*, bits: int) -> bytes:
    """The begin of an RGB PNG of 2 by 2 pixels."""
    return PNG_SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, bits, 2, 0, 0, 0))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_an_image_that_is_not_8_bit_rgb_is_named(
    breakhis: Callable[..., Path], picture: Callable[..., bytes], mode: str
) -> None:
    breakhis(BENIGN)
    root = breakhis(MALIGNANT, content=picture(mode))
    with pytest.raises(UserError, match="1 of 2 images in .* cannot be used") as caught:
        check_files(read_catalog(root))
    assert f"{MALIGNANT}: not an 8-bit RGB image but {mode}" in str(caught.value)


def test_a_16_bit_rgb_image_is_named(breakhis: Callable[..., Path]) -> None:
    pixels = png_chunk(b"IDAT", zlib.compress(2 * (b"\0" + 12 * b"\x80")))
    root = breakhis(BENIGN, content=png_header(bits=16) + pixels + png_chunk(b"IEND"))
    with pytest.raises(UserError, match=f"{BENIGN}: not an 8-bit RGB image"):
        check_files(read_catalog(root))


@pytest.mark.parametrize(
    "content", [b"", b"not an image", PNG_SIGNATURE], ids=["zero-byte", "text", "signature-only"]
)
def test_a_file_that_is_not_a_png_is_named(breakhis: Callable[..., Path], content: bytes) -> None:
    breakhis(BENIGN)
    root = breakhis(MALIGNANT, content=content)
    with pytest.raises(UserError) as caught:
        check_files(read_catalog(root))
    assert f"{MALIGNANT}: not a readable PNG" in str(caught.value)
    assert BENIGN not in str(caught.value)


def test_a_jpeg_named_png_is_named(breakhis: Callable[..., Path], picture: Callable[..., bytes]) -> None:
    root = breakhis(BENIGN, content=picture(kind="JPEG"))
    with pytest.raises(UserError, match=f"{BENIGN}: not a readable PNG"):
        check_files(read_catalog(root))


def test_a_dangling_link_is_named(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN)
    path = root / SLIDE_FOLDER / "40X" / BENIGN
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(UserError, match=f"{BENIGN}: not a readable PNG"):
        check_files(read_catalog(root))


def test_a_png_without_pixels_is_named(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN, content=png_header(bits=8) + png_chunk(b"IEND"))
    with pytest.raises(UserError, match=f"{BENIGN}: not a readable PNG"):
        check_files(read_catalog(root))


def test_a_png_cut_off_anywhere_is_noticed(
    breakhis: Callable[..., Path], picture: Callable[..., bytes]
) -> None:
    whole = picture()
    for length in range(len(whole)):
        root = breakhis(f"SOB_B_A-14-22549AB-40-{length:03}.png", content=whole[:length])
    with pytest.raises(UserError, match=f"{len(whole)} of {len(whole)} images in .* cannot be used"):
        check_files(read_catalog(root))


@given(position=st.integers(0), change=st.integers(1, 255))
def test_a_png_with_any_byte_changed_is_named(
    position: int,
    change: int,
    picture: Callable[..., bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content = bytearray(picture(colour=(200, 80, 160)))
    content[position % (len(content) - len(png_chunk(b"IEND")))] ^= change
    root = tmp_path_factory.getbasetemp()
    image = ImageFile("damaged.png", "benign", "14-1")
    (root / image.path).write_bytes(content)
    with pytest.raises(UserError, match="damaged.png: not"):
        check_files(Catalog(root, (image,)))


def test_the_fingerprint_is_the_same_every_time(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    assert check_files(read_catalog(root)) == check_files(read_catalog(root.parent))


def test_the_fingerprint_changes_with_a_content(
    breakhis: Callable[..., Path], picture: Callable[..., bytes]
) -> None:
    before = check_files(read_catalog(breakhis(BENIGN, MALIGNANT)))
    assert check_files(read_catalog(breakhis(BENIGN, content=picture(colour=(0, 0, 1))))) != before


def test_the_fingerprint_changes_with_a_name(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    before = check_files(read_catalog(root))
    path = root / SLIDE_FOLDER / "40X" / BENIGN
    path.rename(path.with_name("SOB_B_A-14-22549AB-40-002.png"))
    assert check_files(read_catalog(root)) != before


def test_the_fingerprint_changes_with_a_removal(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    before = check_files(read_catalog(root))
    (root / SLIDE_FOLDER / "40X" / BENIGN).unlink()
    assert check_files(read_catalog(root)) != before


def test_the_fingerprint_does_not_change_with_a_time(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN)
    before = check_files(read_catalog(root))
    os.utime(root / SLIDE_FOLDER / "40X" / BENIGN, (1, 1))
    assert check_files(read_catalog(root)) == before


def test_a_folder_that_may_not_be_read_is_named_and_not_skipped(
    breakhis: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, scan = breakhis(BENIGN, MALIGNANT), os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("40X"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="cannot read the folder .*40X: Permission denied"):
        read_catalog(root)
