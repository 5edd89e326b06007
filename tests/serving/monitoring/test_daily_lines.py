"""Lines that are whole, whoever else writes or whatever ends the writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import pytest

from pipeline.errors import UserError
from serving.monitoring.daily_lines import DailyLines

DAY = datetime(2024, 1, 31, 23, 59, tzinfo=timezone.utc)
NEXT_DAY = datetime(2024, 2, 1, 0, 1, tzinfo=timezone.utc)

WRITER = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from serving.monitoring.daily_lines import DailyLines
lines = DailyLines(Path(sys.argv[1]))
number = 0
while True:
    lines.append(f"{number}:{'x' * 3000}:{number}\\n", time=datetime(2024, 1, 31, tzinfo=timezone.utc))
    number += 1
"""


def test_a_day_has_a_file_that_its_owner_alone_can_read(tmp_path: Path) -> None:
    lines = DailyLines(tmp_path / "log")
    for time in (DAY, DAY, NEXT_DAY):
        lines.append("line\n", time=time)
    lines.close()
    files = sorted((tmp_path / "log").iterdir())
    assert [(file.name, file.read_text("utf-8")) for file in files] == [
        ("2024-01-31.jsonl", "line\nline\n"),
        ("2024-02-01.jsonl", "line\n"),
    ]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_threads_and_other_logs_in_the_same_folder_tear_no_line(tmp_path: Path) -> None:
    logs = [DailyLines(tmp_path), DailyLines(tmp_path)]

    def write(number: int) -> None:
        logs[number % 2].append(f"{number}:{'x' * 5000}:{number}\n", time=DAY)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(400)))
    (file,) = tmp_path.iterdir()
    lines = file.read_text("utf-8").splitlines()
    assert sorted(lines) == sorted(f"{number}:{'x' * 5000}:{number}" for number in range(400))


@pytest.mark.parametrize("run", range(3))
def test_a_killed_writer_leaves_whole_lines_but_for_the_last(tmp_path: Path, run: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path])
    file = tmp_path / "2024-01-31.jsonl"
    while not file.is_file() or file.stat().st_size < 300_000:
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    DailyLines(tmp_path).append("next\n", time=DAY)
    *lines, last, after = file.read_text("utf-8").splitlines()
    whole = [f"{number}:{'x' * 3000}:{number}" for number in range(len(lines) + 1)]
    assert lines == whole[:-1]
    assert last and whole[-1].startswith(last)
    assert after == "next"


def test_half_a_line_that_was_left_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "2024-01-31.jsonl"
    file.write_text("whole\nhal", encoding="utf-8")
    DailyLines(tmp_path).append("new\n", time=DAY)
    assert file.read_text("utf-8") == "whole\nhal\nnew\n"


def test_a_full_disk_is_an_error_and_the_next_line_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = DailyLines(tmp_path)
    whole_write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: whole_write(file, data[:3]))
    with pytest.raises(OSError, match="No space left"):
        lines.append("first\n", time=DAY)
    monkeypatch.undo()
    lines.append("second\n", time=DAY)
    assert (tmp_path / "2024-01-31.jsonl").read_text("utf-8") == "fir\nsecond\n"


def test_a_file_that_somebody_removed_is_made_anew(tmp_path: Path) -> None:
    lines = DailyLines(tmp_path)
    lines.append("first\n", time=DAY)
    (tmp_path / "2024-01-31.jsonl").unlink()
    lines.append("second\n", time=DAY)
    assert (tmp_path / "2024-01-31.jsonl").read_text("utf-8") == "second\n"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"cannot make the folder .*file/log: Not a directory; choose another"
    ):
        DailyLines(tmp_path / "file" / "log")
