"""Synthetic images: layout, reproducibility, and separable classes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from knet.base.errors import UserError
from knet.data import sample_data
from knet.data.catalog import read_catalog
from knet.data.image_checks import validate_image
from knet.data.sample_data import is_synthetic, write_sample_data

SMALL: dict[str, Any] = {"width": 140, "height": 92}
FEWEST: dict[str, Any] = {"patients": 8, "width": 48, "height": 32}
NAME = re.compile(r"SOB_(B|M)_(A|F|PT|TA|DC|LC|MC|PC)-(\d{2})-(\d+)([A-Z]*)-(40|100|200|400)-(\d{3})\.png")
CLASSES = {"B": "benign", "M": "malignant"}
SUBTYPES = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes_tumor",
    "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma",
    "LC": "lobular_carcinoma",
    "MC": "mucinous_carcinoma",
    "PC": "papillary_carcinoma",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_data(tmp_path_factory.mktemp("sample"), **SMALL)


def images(root: Path) -> list[Path]:
    return sorted(root.rglob("*.png"))


def parts(path: Path) -> tuple[str, ...]:
    """Class letter, subtype code, year, accession number, slide letters, magnification, sequence."""
    match = NAME.fullmatch(path.name)
    assert match, path.name
    return match.groups()


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_write_sample_data_puts_files_where_names_belong(root: Path) -> None:
    for path in images(root):
        letter, code, year, number, letters, magnification, _ = parts(path)
        assert path.relative_to(root).as_posix() == (
            f"histology_slides/breast/{CLASSES[letter]}/SOB/{SUBTYPES[code]}/"
            f"SOB_{letter}_{code}_{year}-{number}{letters}/{magnification}X/{path.name}"
        )


def test_write_sample_data_writes_nothing_else(root: Path) -> None:
    assert [path.name for path in root.parent.iterdir()] == ["BreaKHis_v1"]
    others = {path.name for path in root.rglob("*") if path.is_file() and path.suffix != ".png"}
    assert others == {"README.md", "SYNTHETIC.json"}


def test_write_sample_data_counts(root: Path) -> None:
    names = [parts(path) for path in images(root)]
    assert len(names) == len(set(names)) == (24 + 2) * 4
    accessions = {CLASSES[letter]: {name[3] for name in names if name[0] == letter} for letter in CLASSES}
    assert {label: len(numbers) for label, numbers in accessions.items()} == {"benign": 12, "malignant": 12}
    assert accessions["benign"].isdisjoint(accessions["malignant"])


def test_write_sample_data_numbers_images(tmp_path: Path) -> None:
    root = write_sample_data(tmp_path, images_per_magnification=2, **FEWEST)
    for folder in {path.parent for path in images(root)}:
        assert [parts(path)[-1] for path in images(folder)] == ["001", "002"]


@pytest.mark.parametrize("patients", [8, 24])
def test_write_sample_data_has_every_subtype_and_magnification(
    root: Path, tmp_path: Path, patients: int
) -> None:
    if patients == 8:
        root = write_sample_data(tmp_path, **FEWEST)
    names = [parts(path) for path in images(root)]
    assert {name[1] for name in names} == set(SUBTYPES)
    slides = {name[2:5] for name in names}
    assert {(name[2:5], name[5]) for name in names} == {
        (slide, magnification) for slide in slides for magnification in ("40", "100", "200", "400")
    }


def test_write_sample_data_has_a_patient_of_two_slides_per_class(root: Path) -> None:
    slides: dict[tuple[str, str], set[str]] = {}
    for path in images(root):
        letter, _, _, number, letters, *_ = parts(path)
        slides.setdefault((letter, number), set()).add(letters)
    double = [letter for (letter, _), letters in slides.items() if letters == {"AB", "CD"}]
    assert sorted(double) == ["B", "M"]


def test_read_catalog_reads_sample_data(root: Path) -> None:
    catalog = read_catalog(root)
    assert len(catalog.images) == len(images(root))
    assert not catalog.excluded_duplicates
    for path in images(root)[:3]:
        assert validate_image(path.read_bytes()).pixels.shape == (92, 140, 3)


def test_write_sample_data_of_a_given_size(root: Path) -> None:
    for path in images(root):
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((140, 92), "RGB")


def test_write_sample_data_has_the_size_of_breakhis_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_data, "MAGNIFICATIONS", (40,))
    first = images(write_sample_data(tmp_path, patients=8))[0]
    with Image.open(first) as image:
        assert image.size == (700, 460)


def test_write_sample_data_is_deterministic(root: Path, tmp_path: Path) -> None:
    assert contents(write_sample_data(tmp_path, **SMALL)) == contents(root)


def test_write_sample_data_depends_on_the_seed(tmp_path: Path) -> None:
    ours, others = (contents(write_sample_data(tmp_path / str(seed), seed=seed, **FEWEST)) for seed in (0, 1))
    assert ours.keys() == others.keys()
    assert all(ours[path] != others[path] for path in ours)


def test_write_sample_data_draws_distinct_images(root: Path) -> None:
    assert len({path.read_bytes() for path in images(root)}) == len(images(root))


def test_write_sample_data_again_changes_nothing(tmp_path: Path) -> None:
    root = write_sample_data(tmp_path, **FEWEST)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert write_sample_data(tmp_path, **FEWEST) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_write_sample_data_refuses_other_parameters(tmp_path: Path) -> None:
    root = write_sample_data(tmp_path, **FEWEST)
    before = contents(root)
    with pytest.raises(UserError, match=re.escape(str(root)) + ".*choose another folder"):
        write_sample_data(tmp_path, seed=1, **FEWEST)
    assert contents(root) == before


def test_write_sample_data_refuses_real_data(tmp_path: Path) -> None:
    real = tmp_path / "BreaKHis_v1" / "histology_slides"
    real.mkdir(parents=True)
    with pytest.raises(UserError, match="choose another folder"):
        write_sample_data(tmp_path, **FEWEST)
    assert list(tmp_path.rglob("*")) == [real.parent, real]


def test_write_sample_data_leaves_nothing_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="no space left"):
        write_sample_data(tmp_path, **FEWEST)
    assert not list(tmp_path.iterdir())


def test_write_sample_data_names_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken"):
        write_sample_data(tmp_path / "taken", **FEWEST)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("patients", 7),
        ("images_per_magnification", 0),
        ("images_per_magnification", 1000),
        ("width", 31),
        ("height", 0),
        ("seed", -1),
    ],
)
def test_write_sample_data_refuses_arguments_out_of_range(tmp_path: Path, argument: str, value: int) -> None:
    with pytest.raises(UserError, match=f"{argument.replace('_', ' ')} must be .* not {value}"):
        write_sample_data(tmp_path, **{**FEWEST, argument: value})
    assert not list(tmp_path.iterdir())


def test_is_synthetic_for_any_folder_of_the_layout(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    breast = root / "histology_slides" / "breast"
    assert all(map(is_synthetic, (root.parent, root, breast.parent, breast)))
    monkeypatch.chdir(breast)
    assert is_synthetic(Path())


def test_is_synthetic_is_false_for_other_folders(tmp_path: Path) -> None:
    breast = tmp_path / "BreaKHis_v1" / "histology_slides" / "breast"
    breast.mkdir(parents=True)
    assert not any(map(is_synthetic, (tmp_path, *breast.parents[:2], breast, tmp_path / "missing")))


def test_write_sample_data_calls_the_images_synthetic(root: Path) -> None:
    readme = (root / "README.md").read_text("utf-8")
    for words in ("images in this folder are synthetic", "neither tissue", "no medical meaning"):
        assert words in readme
    marker = json.loads((root / "SYNTHETIC.json").read_text("utf-8"))
    assert marker == {
        "synthetic": True,
        "patients": 24,
        "images_per_magnification": 1,
        "width": 140,
        "height": 92,
        "seed": 0,
    }
    for name in ("seed: 0", "patients: 24", "width: 140", "height: 92"):
        assert f"- {name}\n" in readme


def absorbance(path: Path) -> list[float]:
    """Quantiles of the absorbance in red, which is mostly haematoxylin's."""
    with Image.open(path) as image:
        red = np.asarray(image)[..., 0] + 1.0
    return np.quantile(np.log(red.max() / red), [0.25, 0.5, 0.75, 0.9, 0.98]).tolist()


def mean_colour(path: Path) -> list[float]:
    with Image.open(path) as image:
        return np.asarray(image).mean(axis=(0, 1)).tolist()


@pytest.fixture(scope="module")
def accuracies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Accuracies of linear classifiers trained on half the patients, by feature."""
    files = images(write_sample_data(tmp_path_factory.mktemp("more"), patients=48, **SMALL))
    malignant = np.array([parts(path)[0] == "M" for path in files])
    ours = np.array([int(parts(path)[3]) // 2 % 2 == 0 for path in files])
    found = {}
    for look in (absorbance, mean_colour):
        inputs = np.array([[1, *look(path)] for path in files])
        weights, *_ = np.linalg.lstsq(inputs[ours], np.where(malignant[ours], 1, -1), rcond=None)
        found[look.__name__] = float(np.mean((inputs[~ours] @ weights > 0) == malignant[~ours]))
    return found


@pytest.mark.slow
def test_sample_data_classes_are_separable(accuracies: dict[str, float]) -> None:
    assert accuracies["absorbance"] >= 0.8


def test_sample_data_classes_are_not_separable_by_mean_colour(accuracies: dict[str, float]) -> None:
    assert accuracies["mean_colour"] <= 0.9


def test_write_sample_data_refuses_an_incomplete_folder(tmp_path: Path) -> None:
    root = write_sample_data(tmp_path, patients=8, width=64, height=42)
    next(root.rglob("*.png")).unlink()
    with pytest.raises(UserError, match="does not hold all the synthetic images"):
        write_sample_data(tmp_path, patients=8, width=64, height=42)
