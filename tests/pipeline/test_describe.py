"""Descriptions of valid and damaged data."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from knet.base.errors import UserError
from knet.data.sample_data import write_sample_data
from pipeline.config.load import load_config
from pipeline.describe import (
    Counts,
    Description,
    SplitDescription,
    check_headers,
    describe_data,
    print_description,
)


def describe(source: Path, *overrides: str) -> Description:
    few = "gate.on_insufficient_data=pass"  # patients
    return describe_data(load_config("paper", [f"data.source={source}", few, *overrides]))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic images of 12 patients, six of each class; the first of each has two slides."""
    return write_sample_data(tmp_path_factory.mktemp("drawn"), patients=12, width=32, height=32)


@pytest.fixture
def samples(drawn: Path, tmp_path: Path) -> Path:
    """A copy of the synthetic images, to be changed."""
    return Path(shutil.copytree(drawn, tmp_path / "samples" / drawn.name))


def test_describe_data_counts_valid_data(samples: Path) -> None:
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


def test_describe_data_tells_that_the_gate_must_refuse(samples: Path, tmp_path: Path) -> None:
    settings = ("gate.on_insufficient_data=fail", f"output={tmp_path / 'out'}")
    (problem,) = describe(samples, *settings).problems
    assert "1 benign and 1 malignant for test, but gate.min_patients is 2 for each" in problem
    assert not describe(samples, *settings, "data.split.test_share=0.4").problems
    assert not (tmp_path / "out").exists()


def test_describe_data_has_the_split_of_a_run(samples: Path, tmp_path: Path) -> None:
    from pipeline.preflight import prepare_data

    settings = ("data.split.test_share=0.3", f"output={tmp_path / 'out'}", "seed=4")
    split = describe(samples, *settings).split
    run = prepare_data(load_config("paper", [f"data.source={samples}", *settings]))
    assert split is not None
    assert split.sha256 == run.split_sha256
    assert {name: counts.patients for name, counts in split.counts.items()} == run.patients
    assert {name: counts.images for name, counts in split.counts.items()} == run.images


def test_describe_data_notes_slices_of_real_data(shared_data: Path) -> None:
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
    ("damage", "problem"),
    [
        (empty, ": zero bytes"),
        (cut, ": truncated or damaged (its end is missing)"),
        (rename, "scan 1.png: the name is outside the grammar"),
        (copy_from_another_patient, "the same file under several patients: "),
    ],
)
def test_describe_data_lists_a_problem(samples: Path, damage: Callable[[Path], None], problem: str) -> None:
    path = sorted(samples.rglob("*.png"))[-1]
    damage(path)
    (line,) = describe(samples).problems
    assert problem in line


def test_describe_data_lists_an_impossible_split(breakhis: Callable[..., Path], picture: Any) -> None:
    names = [f"SOB_B_A-14-{number}-40-001.png" for number in range(2)]
    found = describe(breakhis(*names, "SOB_M_DC-14-9-40-001.png", content=picture(size=(32, 32))))
    assert found.split is None
    assert found.problems[-1].startswith("too few patients: benign has 2 (14-0, 14-1)")
    assert found.problems[0].startswith("the same file under several patients")


def test_describe_data_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        describe(tmp_path)


def test_describe_data_of_a_manifest(tmp_path: Path, picture: Any) -> None:
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


def test_describe_data_lists_a_slice_that_is_no_column(samples: Path) -> None:
    found = describe(samples, "data.slices=[subtype, stain]")
    assert list(found.slices) == ["subtype"]
    assert len(found.problems) == 1
    assert found.problems[0].startswith("data.slices: stain is not a column of ")


def test_describe_data_states_that_archives_are_not_opened(samples: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", samples.parent)
    found = describe(Path(archive))
    assert (found.counts.images, found.problems) == (56, ())
    assert any("archive" in line for line in found.not_checked)


def test_describe_data_lists_too_few_patients_for_the_search(drawn: Path) -> None:
    (problem,) = describe(drawn, "tuning.folds=5").problems
    assert problem.startswith("tuning.folds: 5 needs 5 training patients of each class")


BOTH = Counts(1234, 5, None, {"benign": 4, "malignant": 1230})


def shown(problems: int) -> list[list[str]]:
    description = Description(
        location="/data/[old]",
        counts=BOTH,
        classes={"benign": Counts(4, 2, None, {"benign": 4}), "malignant": Counts(1230, 3, None, {})},
        slices={"magnification": {"40X": BOTH}},
        split=SplitDescription({"by": "folds", "folds": 5}, 7, "0" * 64, {"train": BOTH}),
        problems=tuple(f"file {number}" for number in range(problems)),
        notes=("adenosis is rare",),
        not_checked=("pixels",),
    )
    console = Console(file=io.StringIO(), width=80, markup=False)
    print_description(description, settings="preset demo", console=console)
    return [line.split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_print_description_shows_every_part() -> None:
    lines = shown(problems=1)
    assert lines[0] == ["data:", "/data/[old]"]
    assert ["benign", "4", "2"] in lines
    assert ["all", "1,234", "5"] in lines
    assert ["magnification", "images", "benign", "malignant", "patients"] in lines
    assert ["40X", "1,234", "4", "1,230", "5"] in lines
    assert ["split", "of", "preset", "demo:", "by", "folds,", "folds", "5,", "seed", "7"] in lines
    assert ["note:", "adenosis", "is", "rare"] in lines
    assert ["not", "checked:", "pixels"] in lines
    assert lines[-2:] == [["problem:", "file", "0"], ["1", "problem"]]


def test_print_description_shows_twenty_problems() -> None:
    lines = shown(problems=25)
    assert sum(line[:1] == ["problem:"] for line in lines) == 20
    assert ["and", "5", "more", "problems;", "--json", "lists", "them", "all"] in lines
    assert lines[-1] == ["25", "problems"]


SIZE = (40, 32)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_check_headers_accepts_complete_images(
    tmp_path: Path, picture: Callable[..., bytes], kind: str
) -> None:
    (tmp_path / "a").write_bytes(picture(kind=kind, size=SIZE))
    assert check_headers(tmp_path, ["a"]) == {}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "zero bytes"),
        (
            lambda content: b"no image at all, but long enough to be one",
            "not an image, or damaged in its first bytes",
        ),
        (lambda content: content[:20], "not an image, or damaged in its first bytes"),
        (lambda content: content[:-1], "truncated or damaged (its end is missing)"),
        (lambda content: content + b"\0", "truncated or damaged (there are bytes behind its end)"),
        (
            lambda content: content[:24] + b"\x10" + content[25:],
            "not an image, or damaged in its first bytes",
        ),
    ],
)
def test_check_headers_reports_a_damaged_file(
    tmp_path: Path, picture: Callable[..., bytes], damage: Callable[[bytes], bytes], reason: str
) -> None:
    (tmp_path / "good").write_bytes(picture(size=SIZE))
    (tmp_path / "bad").write_bytes(damage(picture(size=SIZE)))
    assert check_headers(tmp_path, ["good", "bad"]) == {"bad": reason}


@pytest.mark.parametrize(
    ("mode", "reason"), [("L", "grey"), ("RGBA", "RGB with alpha"), ("I;16", "16-bit grey")]
)
def test_check_headers_reports_another_kind_of_image(
    tmp_path: Path, picture: Callable[..., bytes], mode: str, reason: str
) -> None:
    (tmp_path / "a").write_bytes(picture(mode, size=SIZE))
    assert check_headers(tmp_path, ["a"]) == {"a": f"not 8-bit RGB but {reason}"}


def test_check_headers_reports_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert check_headers(tmp_path, ["link", "pipe"]) == {"link": "not a file", "pipe": "not a file"}


def test_check_headers_reports_an_unreadable_file(
    tmp_path: Path, picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(picture(size=SIZE))

    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert check_headers(tmp_path, ["a"]) == {"a": "cannot be read (Permission denied)"}
