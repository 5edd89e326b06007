"""Catalogs, against the list of all 7,909 files of BreaKHis and against other layouts."""

from __future__ import annotations

import csv
import os
import shutil
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knet.base.errors import UserError
from knet.data.catalog import Catalog, open_source, read_catalog
from knet.data.download import official_names
from knet.data.folders import Folder
from knet.data.source import ImageFile

BENIGN = "SOB_B_A-14-22549AB-40-001.png"
MALIGNANT = "SOB_M_DC-14-2523-400-012.png"
SLIDE_FOLDER = "histology_slides/breast/benign/SOB/adenosis/SOB_B_A_14-22549AB"
BREAST = "BreaKHis_v1/histology_slides/breast/"


@pytest.fixture(scope="module")
def manifest(shared_data: Path) -> dict[str, dict[str, str]]:
    """The rows of the list of all files, by path below `breast`."""
    with (shared_data / "breakhis_manifest" / "breakhis_v1_files.csv").open(encoding="utf-8") as file:
        return {row["path"].removeprefix(BREAST): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def full_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole data set as empty files, which the catalog does not open."""
    folder = tmp_path_factory.mktemp("full")
    for name in official_names():
        path = folder / BREAST / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.fixture(scope="module")
def full(full_folder: Path) -> Catalog:
    return read_catalog(full_folder, keep_duplicate_slides=True)


@pytest.fixture(scope="module")
def without_duplicates(full_folder: Path) -> Catalog:
    return read_catalog(full_folder)


def test_read_catalog_of_breakhis_equals_its_list(full: Catalog, manifest: dict[str, dict[str, str]]) -> None:
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


def test_read_catalog_sorts_images_by_path(full: Catalog) -> None:
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
def test_read_catalog_of_breakhis_has_its_counts(full: Catalog, of: str, counts: dict[str, int]) -> None:
    assert Counter(of_image(image, of) for image in full.images) == counts


def test_read_catalog_of_breakhis_counts_by_magnification(full: Catalog) -> None:
    benign = Counter(image.column("magnification") for image in full.images if image.label == "benign")
    assert benign == {"40X": 625, "100X": 644, "200X": 623, "400X": 588}


def test_read_catalog_of_breakhis_has_70_patients_and_81_slides(full: Catalog) -> None:
    patients = {image.label: set[str]() for image in full.images}
    for image in full.images:
        patients[image.label].add(image.patient)
    assert {label: len(of) for label, of in patients.items()} == {"benign": 16, "malignant": 54}
    assert len({image.column("slide") for image in full.images}) == 81


def test_read_catalog_excludes_the_second_copy_of_a_slide(without_duplicates: Catalog) -> None:
    assert len(without_duplicates.images) == 7786
    assert {
        (image.column("slide"), image.column("subtype")) for image in without_duplicates.excluded_duplicates
    } == {("14-13412", "lobular_carcinoma")}
    assert len(without_duplicates.excluded_duplicates) == 123


def test_read_catalog_includes_one_copy_of_a_slide_filed_twice(without_duplicates: Catalog) -> None:
    kept = [
        image.column("subtype") for image in without_duplicates.images if image.column("slide") == "14-13412"
    ]
    assert kept == ["ductal_carcinoma"] * 123


def test_read_catalog_with_keep_duplicate_slides_has_both(full: Catalog) -> None:
    assert full.excluded_duplicates == ()
    subtypes = Counter(
        image.column("subtype") for image in full.images if image.column("slide") == "14-13412"
    )
    assert subtypes == {"ductal_carcinoma": 123, "lobular_carcinoma": 123}


@pytest.mark.parametrize(
    "named", ["..", ".", "histology_slides", "histology_slides/breast"], ids=lambda named: f"[{named}]"
)
def test_read_catalog_accepts_any_folder_down_to_breast(breakhis: Callable[..., Path], named: str) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    catalog = read_catalog(root / named)
    assert catalog.location == root / "histology_slides" / "breast"
    assert [Path(image.path).name for image in catalog.images] == [BENIGN, MALIGNANT]


@pytest.mark.parametrize(
    "left",
    [
        *("Thumbs.db", "thumbs.db", "Desktop.ini", "Icon\r", ".DS_Store", f"._{BENIGN}", ".cache/image.png"),
        *("@eaDir/image.png", "__MACOSX/image.png", "#recycle/image.png", "System Volume Information/x.png"),
    ],
)
def test_read_catalog_skips_files_of_file_managers(breakhis: Callable[..., Path], left: str) -> None:
    root = breakhis(BENIGN)
    path = root / SLIDE_FOLDER / left
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"thumbnails")
    assert len(read_catalog(root).images) == 1


def test_read_catalog_names_a_split_made_by_somebody_else(tmp_path: Path) -> None:
    other = BENIGN.replace("-001.png", "-002.png")
    for part, name in (("train", BENIGN), ("train", MALIGNANT), ("test", other)):
        label = "benign" if "_B_" in name else "malignant"
        (tmp_path / "BreaKHis 400X" / part / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "BreaKHis 400X" / part / label / name).touch()
    with pytest.raises(
        UserError,
        match=r"split made by somebody else, in BreaKHis 400X/test/ and BreaKHis 400X/train/; 1 of its 2 "
        r"patients are in more than one part. Use the official archive \(knet data download\)",
    ):
        read_catalog(tmp_path)


def test_read_catalog_of_other_images_names_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)
    (tmp_path / "train" / "cat" / "1.png").touch()
    with pytest.raises(
        UserError, match=rf"is not BreaKHis: .*; its 1 image .* knet data manifest {tmp_path}"
    ):
        read_catalog(tmp_path)


def test_read_catalog_lists_ignored_files(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN)
    (root / "histology_slides" / "breast" / "README.txt").touch()
    catalog = read_catalog(root)
    assert (len(catalog.images), catalog.quarantined, catalog.ignored_files) == (1, (), ("README.txt",))


def test_read_catalog_of_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"no such data folder or archive: {tmp_path}/none"):
        read_catalog(tmp_path / "none")


def test_read_catalog_of_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "BreaKHis_v1.rar").touch()
    with pytest.raises(UserError, match=r"BreaKHis_v1\.rar: expected a folder, a \.zip, .* or a \.csv"):
        read_catalog(tmp_path / "BreaKHis_v1.rar")


def test_read_catalog_of_another_layout_states_the_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path} is not BreaKHis: expected BreaKHis_v1/"):
        read_catalog(tmp_path)


def test_read_catalog_of_a_class_folder_is_refused(breakhis: Callable[..., Path]) -> None:
    folder = breakhis(BENIGN) / "histology_slides" / "breast" / "benign"
    with pytest.raises(UserError, match=f"{folder} is not BreaKHis"):
        read_catalog(folder)


def test_read_catalog_of_empty_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "benign" / "SOB").mkdir(parents=True)
    with pytest.raises(UserError, match=rf"{tmp_path} is not BreaKHis"):
        read_catalog(tmp_path)


def test_read_catalog_without_images_states_the_grammar(tmp_path: Path) -> None:
    (tmp_path / "benign" / "SOB").mkdir(parents=True)
    (tmp_path / "benign" / "SOB" / "README.txt").touch()
    with pytest.raises(UserError, match=rf"no images found in {tmp_path}: .*SOB_<B\|M>"):
        read_catalog(tmp_path)


def test_read_catalog_of_other_images_lists_some(tmp_path: Path) -> None:
    (tmp_path / "benign").mkdir()
    (tmp_path / "benign" / "scan.png").touch()
    with pytest.raises(UserError, match=r"(?s)no images found .*benign/scan\.png: the name is outside the"):
        read_catalog(tmp_path)


def test_read_catalog_quarantines_a_misnamed_file(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN)
    (root / SLIDE_FOLDER / "notes.txt").touch()
    (file,) = read_catalog(root).quarantined
    assert file.path == "benign/SOB/adenosis/SOB_B_A_14-22549AB/notes.txt"
    assert file.reason.startswith("the name is outside the grammar SOB_<B|M>")


def test_read_catalog_quarantines_a_misplaced_image(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN)
    (root / SLIDE_FOLDER / "100X").mkdir()
    (root / SLIDE_FOLDER / "100X" / BENIGN).touch()
    (file,) = read_catalog(root).quarantined
    assert file.reason.startswith("by its name it belongs in benign/SOB/adenosis/SOB_B_A_14-22549AB/40X/")


def test_read_catalog_quarantines_an_image_outside_the_classes(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN)
    (root / "histology_slides" / "breast" / "scan.PNG").touch()
    (file,) = read_catalog(root).quarantined
    assert (file.path, file.reason) == ("scan.PNG", "outside the folders benign and malignant")


def test_read_catalog_escapes_unprintable_names(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN)
    (root / SLIDE_FOLDER / "a\x1b[31m.png").touch()
    (root / SLIDE_FOLDER / os.fsdecode(b"b\xff.png")).touch()
    paths = [file.path.rpartition("/")[2] for file in read_catalog(root).quarantined]
    assert paths == ["a\\x1b[31m.png", "b\\udcff.png"]


def packed(root: Path, archive: Path, *, below: str) -> Path:
    """Packs the files of a folder into an archive, with the prefix `below`."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as written:
            for path in files:
                written.write(path, below + path.relative_to(root).as_posix())
    else:
        with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as tar:
            for path in files:
                tar.add(path, below + path.relative_to(root).as_posix())
    return archive


@pytest.mark.parametrize("name", ["data.zip", "data.tar", "data.tar.gz"])
@pytest.mark.parametrize("below", ["", "breast/", "BreaKHis_v1/BreaKHis_v1/histology_slides/breast/", "./x/"])
def test_read_catalog_of_an_archive_equals_its_folder(
    breakhis: Callable[..., Path], tmp_path: Path, name: str, below: str
) -> None:
    breast = breakhis(BENIGN, MALIGNANT) / "histology_slides" / "breast"
    (breast / "benign" / "scan.png").touch()
    archive = packed(breast, tmp_path / name, below=below)
    listed, expected = read_catalog(archive), read_catalog(breast)
    assert (listed.images, listed.quarantined) == (expected.images, expected.quarantined)
    assert listed.location == archive


@pytest.mark.parametrize("name", ["data.zip", "data.tar", "data.tar.gz", "folder"])
def test_read_catalog_lists_files_outside_the_data(
    breakhis: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    root = breakhis(BENIGN)
    (root / "README.txt").touch()
    (root / "scan.png").touch()
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "x.png").touch()
    given = root.parent if name == "folder" else packed(root, tmp_path / name, below="BreaKHis_v1/")
    catalog = read_catalog(given)
    assert catalog.ignored_files == ("/BreaKHis_v1/README.txt",)
    assert [file.path for file in catalog.quarantined] == ["/BreaKHis_v1/scan.png"]
    assert catalog.location == given


@pytest.mark.parametrize("name", ["data.zip", "folder"])
def test_read_catalog_of_two_copies_is_refused(
    breakhis: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    root = breakhis(BENIGN)
    shutil.copytree(root, root / "copy")
    given = root.parent if name == "folder" else packed(root, tmp_path / name, below="BreaKHis_v1/")
    with pytest.raises(UserError, match="holds BreaKHis more than once, in BreaKHis_v1/copy/"):
        read_catalog(given)


def test_read_catalog_ignores_an_empty_class_folder(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN)
    (root / "benign").mkdir()
    assert len(read_catalog(root).images) == 1


def test_read_catalog_of_another_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("photos/cat.png", b"")
    with pytest.raises(UserError, match=r"data\.zip is not BreaKHis: expected BreaKHis_v1/"):
        read_catalog(tmp_path / "data.zip")


def test_read_catalog_of_breakhis_with_other_classes_is_refused(breakhis: Callable[..., Path]) -> None:
    with pytest.raises(
        UserError,
        match=r"data\.classes are a and b, but the classes of BreaKHis are .* or set data\.label=subtype",
    ):
        read_catalog(breakhis(BENIGN), classes=("a", "b"))


def test_read_catalog_with_root_without_manifest_is_refused(
    breakhis: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"data\.root is for a manifest, but .*BreaKHis_v1 is none"):
        read_catalog(breakhis(BENIGN), root=tmp_path)


def test_read_catalog_of_a_manifest_uses_its_folder(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "manifest.csv").write_text("path,label,group,stain\na.png,benign,1,HE\n", encoding="utf-8")
    catalog = read_catalog(tmp_path / "manifest.csv")
    assert catalog.images == (ImageFile("a.png", "benign", "1", (("stain", "HE"),)),)
    assert (catalog.location, catalog.columns) == (tmp_path / "manifest.csv", ("stain",))


def test_read_catalog_of_a_manifest_with_an_archive(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("x/a.png", picture())
    (tmp_path / "manifest.csv").write_text("path,label,group\nx/a.png,benign,1\n", encoding="utf-8")
    catalog = read_catalog(tmp_path / "manifest.csv", root=tmp_path / "images.zip")
    assert catalog.images == (ImageFile("x/a.png", "benign", "1"),)


def test_read_catalog_of_an_unreadable_folder_is_refused(
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


def test_open_source_resolves_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data", target_is_directory=True)
    assert open_source(tmp_path / "link") == Folder(tmp_path / "data")


def test_open_source_of_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no such data folder or archive: {tmp_path}/none.zip"):
        open_source(tmp_path / "none.zip")


def test_open_source_of_another_file_states_the_expected(tmp_path: Path) -> None:
    (tmp_path / "data.rar").touch()
    with pytest.raises(UserError, match=r"data\.rar: expected a folder, a \.zip, \.tar, \.tar\.gz or \.tgz"):
        open_source(tmp_path / "data.rar")


def test_read_catalog_by_subtype_excludes_the_others(full_folder: Path, without_duplicates: Catalog) -> None:
    subtypes = ("fibroadenoma", "lobular_carcinoma", "papillary_carcinoma")
    catalog = read_catalog(full_folder, classes=subtypes)
    expected = Counter(image.column("subtype") for image in without_duplicates.images)
    assert Counter(image.label for image in catalog.images) == {name: expected.pop(name) for name in subtypes}
    assert dict(catalog.other_classes) == expected
    assert "444 images of adenosis excluded: it is not in data.classes" in catalog.class_notes
    assert without_duplicates.class_notes == ()


def test_read_catalog_by_subtype_is_not_sliced_by_it(breakhis: Callable[..., Path]) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    assert read_catalog(root, classes=("adenosis", "ductal_carcinoma")).slices == ("magnification",)
    assert read_catalog(root).slices == ("magnification", "subtype")


def test_read_catalog_without_images_of_the_subtypes_is_refused(breakhis: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"data\.classes: .* has no image of adenosis and fibroadenoma; name"):
        read_catalog(breakhis(MALIGNANT), classes=("adenosis", "fibroadenoma"))
