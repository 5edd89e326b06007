"""What is said of good and bad data."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.data.describe_data import Counts, Description, describe_data
from pipeline.errors import UserError
from pipeline.sample_data import write_sample_data


def describe(source: Path, *overrides: str) -> Description:
    return describe_data(load_config("paper", [f"data.source={source}", *overrides]))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic images of 12 patients, six of each class; the first of each has two slides."""
    return write_sample_data(tmp_path_factory.mktemp("drawn"), patients=12, width=32, height=32)


@pytest.fixture
def samples(drawn: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may spoil."""
    return Path(shutil.copytree(drawn, tmp_path / "samples" / drawn.name))


def test_good_data_are_counted_without_a_problem(samples: Path) -> None:
    found = describe(samples)
    assert found.problems == ()
    assert found.location == str(samples / "histology_slides" / "breast")
    assert found.counts == Counts(56, 12, 14, {"benign": 28, "malignant": 28})
    assert found.classes["benign"] == Counts(28, 6, 7, {"benign": 28})
    assert list(found.slices) == ["magnification", "subtype"]
    assert found.slices["magnification"] == {
        value: Counts(14, 12, 14, {"benign": 7, "malignant": 7}) for value in ("40X", "100X", "200X", "400X")
    }
    assert list(found.slices["magnification"]) == ["40X", "100X", "200X", "400X"]


def test_the_split_is_the_one_that_a_run_makes(samples: Path, tmp_path: Path) -> None:
    from pipeline.preflight import prepare_data

    settings = ("data.split.test_share=0.3", f"output={tmp_path / 'out'}", "seed=4")
    split = describe(samples, *settings).split
    run = prepare_data(load_config("paper", [f"data.source={samples}", *settings]))
    assert split is not None
    assert split.sha256 == run.split_sha256
    assert {name: counts.patients for name, counts in split.counts.items()} == run.patients
    assert {name: counts.images for name, counts in split.counts.items()} == run.images


def test_real_data_have_notes_on_slices_but_no_problem(shared_data: Path) -> None:
    found = describe(shared_data / "breakhis_real")
    assert (found.problems, found.counts.images, found.counts.patients) == ((), 116, 29)
    assert any(
        note.startswith("subtype adenosis: 2 patients, too few for three splits") for note in found.notes
    )


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def rename(path: Path) -> None:
    path.rename(path.with_name("scan 1.png"))


def copy_from_another_patient(path: Path) -> None:
    other = next(
        other for other in sorted(path.parents[6].rglob("*.png")) if other.parents[1] != path.parents[1]
    )
    path.write_bytes(other.read_bytes())


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (empty, ": zero bytes"),
        (cut, ": truncated or damaged (its end is missing)"),
        (rename, "scan 1.png: the name is outside the grammar"),
        (copy_from_another_patient, "the same file under several patients: "),
    ],
)
def test_a_problem_is_listed(samples: Path, spoil: Callable[[Path], None], problem: str) -> None:
    path = sorted(samples.rglob("*.png"))[-1]
    spoil(path)
    (line,) = describe(samples).problems
    assert problem in line


def test_a_split_that_cannot_be_made_is_a_problem_among_others(
    breakhis: Callable[..., Path], picture: Any
) -> None:
    names = [f"SOB_B_A-14-{number}-40-001.png" for number in range(2)]
    found = describe(breakhis(*names, "SOB_M_DC-14-9-40-001.png", content=picture(size=(32, 32))))
    assert found.split is None
    assert found.problems[-1].startswith("too few patients: benign has 2 (14-0, 14-1)")
    assert found.problems[0].startswith("the same file under several patients")


def test_without_images_there_is_nothing_to_describe(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        describe(tmp_path)


def test_other_images_are_described_by_their_manifest(tmp_path: Path, picture: Any) -> None:
    rows = [("path", "label", "group", "stain")]
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(picture(size=(32, 32), colour=(number, 0, 0)))
        rows.append((f"{number}.png", "marked" if number % 2 else "clear", f"g{number}", "H&E"))
    with (tmp_path / "images.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    found = describe(tmp_path / "images.csv", "data.classes=[clear, marked]")
    assert found.problems == ()
    assert found.counts == Counts(8, 8, None, {"clear": 4, "marked": 4})
    assert found.slices == {"stain": {"H&E": Counts(8, 8, None, {"clear": 4, "marked": 4})}}


def test_a_slice_that_is_no_column_is_a_problem(samples: Path) -> None:
    found = describe(samples, "data.slices=[subtype, stain]")
    assert list(found.slices) == ["subtype"]
    assert len(found.problems) == 1
    assert found.problems[0].startswith("data.slices: stain is not a column of ")


def test_files_in_an_archive_are_said_not_to_be_opened(samples: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", samples.parent)
    found = describe(Path(archive))
    assert (found.counts.images, found.problems) == (56, ())
    assert any("archive" in line for line in found.not_checked)


def test_too_few_training_patients_for_the_search_are_a_problem(drawn: Path) -> None:
    (problem,) = describe(drawn, "tuning.folds=5").problems
    assert problem.startswith("tuning.folds: 5 needs 5 training patients of each class")
