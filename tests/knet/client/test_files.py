"""Predictions in a CSV file, interrupted and resumed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pandas as pd
import pytest
from fake_model_server import FakeModelServer
from hypothesis import given
from hypothesis import strategies as st

from knet.base.errors import UserError
from knet.client import Client, FailedPrediction, FilePrediction, Prediction, predict_to_csv
from knet.client.files import COLUMNS, PredictionsCsv, file_name

texts = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=9)
scores = st.floats(0, 1, width=32)
predictions = st.builds(
    Prediction,
    label=texts,
    score=scores,
    probabilities=st.dictionaries(texts, scores, max_size=2),
    model_version=st.integers(0, 2**60),
    in_distribution=st.booleans(),
    reasons=st.sampled_from([(), ("blurred",), ("little tissue", "unlike the training images")]),
    distance=st.floats(0, 1e6),
    threshold=st.none() | scores,
    positive_score=st.none() | scores,
)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Twenty images, in a folder of their own."""
    (tmp_path / "images").mkdir()
    written = [tmp_path / "images" / f"{number:02}.png" for number in range(20)]
    for number, file in enumerate(written):
        file.write_bytes(f"{number / 20}".encode())
    return written


def run(fake: FakeModelServer, files: list[Path], table: Path, **settings: Any) -> list[FilePrediction]:
    with Client(fake.address, retries=0, **settings) as client:
        return predict_to_csv(client, files, table)


def image_rows(table: Path) -> list[str]:
    with table.open(newline="", encoding="utf-8") as lines:
        return [row["image"] for row in csv.DictReader(lines, strict=True)]


@given(
    said=predictions | st.builds(FailedPrediction, texts.map(lambda text: " ".join(f"why {text}".split())))
)
def test_row_round_trip(said: Prediction | FailedPrediction) -> None:
    answer = FilePrediction("a, b.png", "0f", said)
    assert FilePrediction.from_row(answer.as_row()) == answer
    assert tuple(answer.as_row()) == answer.columns
    assert answer.columns[: len(COLUMNS)] == COLUMNS


def test_predict_to_csv_of_a_positive_group_adds_its_columns(
    fake: FakeModelServer, files: list[Path], tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    files[0].write_bytes(b"bad")
    run(fake, files[:2], table)  # of two classes
    fake.classes, fake.group, fake.version = (b"a", b"b", b"c"), (1, 2), 8
    files[2].write_bytes(b"0.75 0.125 0.125")
    files[3].write_bytes(b"0.25 0.25 0.5")
    found = run(fake, files[2:4], table)
    columns = ("label", "score", "threshold", "positive_score", "positive")
    with table.open(newline="", encoding="utf-8") as lines:
        rows = [tuple(row[name] for name in columns) for row in csv.DictReader(lines, strict=True)]
    assert rows == [
        ("", "", "", "", ""),
        ("benign", "0.05000000074505806", "0.5", "", ""),
        ("a", "0.75", "0.5", "0.25", "false"),
        ("c", "0.5", "0.5", "0.75", "true"),
    ]
    fake.requests.clear()
    assert run(fake, files[:4], table)[2:] == found
    assert fake.requests == []


def test_predict_to_csv_row_for_each_file(fake: FakeModelServer, files: list[Path], tmp_path: Path) -> None:
    files = [*files[:2], tmp_path / "gone.png", files[2]]
    files[1].write_bytes(b"bad")
    answers = run(fake, files, tmp_path / "out" / "table.csv")
    frame = pd.read_csv(tmp_path / "out" / "table.csv")
    assert frame["image"].tolist() == [str(file) for file in files] == [one.image for one in answers]
    assert frame["score"].tolist()[0] == 0 and frame["score"].isna().tolist() == [False, True, True, False]
    assert frame["error"][1].endswith("(must be PNG or JPEG)")
    assert frame["error"][2] == "No such file or directory; give a PNG or JPEG file"
    assert frame["in_distribution"].tolist()[::3] == [False, True]
    assert frame["sha256"].isna().tolist() == [False, False, True, False]


def test_only_new_changed_and_unreadable_files_are_asked_about_again(
    fake: FakeModelServer, files: list[Path], tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    files[3].write_bytes(b"bad")
    files[4].unlink()
    first = run(fake, files[:10], table)
    fake.requests.clear()
    os.utime(files[0])  # looks newer, and holds the same
    assert run(fake, files[:10], table) == first
    assert fake.images == []
    files[1].write_bytes(b"0.99")
    files[4].write_bytes(b"0.98")
    second = run(fake, files[:12], table)
    assert sorted(fake.images) == sorted([b"0.99", b"0.98", *(file.read_bytes() for file in files[10:12])])
    assert [one.result.score for one in second if isinstance(one.result, Prediction)] == pytest.approx(
        [0, 0.99, 0.1, 0.98, *(number / 20 for number in range(5, 12))]
    )
    assert isinstance(second[3].result, FailedPrediction)
    assert sorted(image_rows(table)) == [str(file) for file in files[:12]]  # each once


def test_predict_to_csv_keeps_other_rows(fake: FakeModelServer, files: list[Path], tmp_path: Path) -> None:
    run(fake, files[:2], tmp_path / "table.csv")
    run(fake, files[2:4], tmp_path / "table.csv")
    assert image_rows(tmp_path / "table.csv") == [str(file) for file in files[:4]]


def test_predict_to_csv_resumes_after_server_failure(
    fake: FakeModelServer, files: list[Path], tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"

    def go_away(answer: FilePrediction, left: int) -> None:
        if left == 15:
            fake.failures = [(grpc.StatusCode.UNAVAILABLE, "gone")] * 99

    with (
        Client(fake.address, retries=0, batch=1, concurrency=1) as client,
        pytest.raises(UserError, match="no model server answers"),
    ):
        predict_to_csv(client, files, table, on_result=go_away)
    assert image_rows(table) == [str(file) for file in files[:5]]
    fake.failures, before = [], len(fake.images)
    run(fake, files, table)
    assert len(fake.images) - before == 15
    assert image_rows(table) == [str(file) for file in files]


def test_predictions_csv_ignores_incomplete_line(
    fake: FakeModelServer, files: list[Path], tmp_path: Path
) -> None:
    table, cut = tmp_path / "table.csv", tmp_path / "cut.csv"
    awkward = tmp_path / 'naïve, "ä".png'
    awkward.write_bytes(b"0.5")
    run(fake, [files[0], awkward], table)
    whole = table.read_bytes()
    rows = whole.split(b"\n")
    for length in range(len(whole) + 1):
        cut.write_bytes(whole[:length])
        csv_file = PredictionsCsv(cut)
        complete = whole[:length].count(b"\n")
        assert len(csv_file.predictions) == max(0, complete - 1)
        csv_file.remove([])
        assert cut.read_bytes() == b"\n".join(rows[: max(1, complete)]) + b"\n"


def test_predict_to_csv_resumes_after_kill(fake: FakeModelServer, files: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    code = (
        "import sys; from pathlib import Path; from knet.client import Client, predict_to_csv\n"
        "with Client(sys.argv[1], batch=1, concurrency=2) as client:\n"
        "    predict_to_csv(client, [Path(name) for name in sys.argv[3:]], Path(sys.argv[2]))"
    )
    fake.answers = 8
    process = subprocess.Popen([sys.executable, "-c", code, fake.address, str(table), *map(str, files)])
    # Two requests run at once, so the first one without an answer may be the eighth or the ninth.
    while len(fake.images) <= fake.answers or not table.exists() or table.read_bytes().count(b"\n") < 6:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {Path(name).read_bytes() for name in image_rows(table)}
    assert 5 <= len(done) <= 8
    fake.answers = None
    fake.go_on.set()  # the killed client gets none of these answers
    fake.requests.clear()
    run(fake, files, table)
    assert not done & set(fake.images)
    assert len(fake.images) == 20 - len(done)
    assert sorted(image_rows(table)) == [str(file) for file in files]


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "notes", "image,sha256\n"])
def test_predict_to_csv_rejects_other_content(
    fake: FakeModelServer, files: list[Path], tmp_path: Path, content: str
) -> None:
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(UserError, match=r"table\.csv is not a CSV file of predictions"):
        run(fake, files, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == content
    assert fake.requests == []


def test_predict_to_csv_names_damaged_row(fake: FakeModelServer, files: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    run(fake, files[:3], table)
    lines = table.read_text("utf-8").splitlines(keepends=True)
    table.write_text("".join([*lines[:2], "x,y\n", *lines[2:]]), encoding="utf-8")
    with pytest.raises(UserError, match=r"table\.csv, line 3: not a row of predictions"):
        run(fake, files, table)


def test_predict_to_csv_unwritable_file(fake: FakeModelServer, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"table\.csv: .*; give a file that can be written"):
        run(fake, files, tmp_path / "file" / "table.csv")


def test_predict_to_csv_refuses_a_pipe_or_device(
    fake: FakeModelServer, files: list[Path], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "table.csv")  # to read it would take forever
    with pytest.raises(UserError, match=r"table\.csv: Not a regular file; give a file that can be written"):
        run(fake, files, tmp_path / "table.csv")


def test_predict_to_csv_follows_link(fake: FakeModelServer, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "table.csv")
    run(fake, files[:1], tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink() and image_rows(tmp_path / "table.csv") == [str(files[0])]


def test_predict_to_csv_escapes_unprintable_names(fake: FakeModelServer, tmp_path: Path) -> None:
    files = [tmp_path / "two\nlines.png", tmp_path / os.fsdecode(b"\xff.png")]
    for file in files:
        file.write_bytes(b"0.5")
    run(fake, files, tmp_path / "table.csv")
    before = len(fake.images)
    answers = run(fake, files, tmp_path / "table.csv")
    assert [Path(one.image).name for one in answers] == [r"two\nlines.png", r"\udcff.png"]
    assert [file_name(file) for file in files] == [one.image for one in answers]
    assert len(fake.images) == before
