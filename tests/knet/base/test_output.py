"""Standard output that is full, closed, or whose reader has gone."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from knet.base.errors import UserError
from knet.base.output import READER_GONE, open_output


def test_open_output_writes_text(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file, open_output(file.fileno(), encoding="utf-8") as output:
        print("µm", file=output)
    assert (tmp_path / "out").read_bytes() == "µm\n".encode()


def test_open_output_without_reader_ends_the_process() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = open_output(writer, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        print("text", file=output, flush=True)
    assert ended.value.code == READER_GONE == 141
    print("text", file=output, flush=True)  # no effect
    output.close()
    os.close(writer)


def test_open_output_that_is_full_is_a_user_error() -> None:
    with Path("/dev/full").open("wb") as file, open_output(file.fileno(), encoding="utf-8") as output:
        with pytest.raises(UserError, match=r"^standard output: No space left on device;"):
            print("text", file=output, flush=True)
        print("text", file=output, flush=True)  # no effect


COMMANDS = (
    ["--help"],
    ["--version"],
    ["run", "--help"],
    ["config", "show"],  # printed by click
    ["config", "schema"],
    ["data", "describe", "{data}"],  # printed by rich
    ["data", "describe", "{data}", "--json"],
)


PROGRAM = [sys.executable, "-c", "from pipeline.commands.main import main; main()"]


def knet(data: Path, command: list[str], output: int) -> tuple[int, str]:
    """Run a command that prints to a descriptor, and return exit code and standard error."""
    words = [word.format(data=data) for word in command]
    done = subprocess.run([*PROGRAM, *words], stdout=output, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from knet.data.sample_data import write_sample_data

    return write_sample_data(tmp_path_factory.mktemp("data"), patients=24, width=32, height=32)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_command_to_a_full_device_exits_with_2_and_one_line(data: Path, command: list[str]) -> None:
    message = "error: standard output: No space left on device; redirect it to a file that can be written\n"
    with Path("/dev/full").open("wb") as full:
        assert knet(data, command, full.fileno()) == (2, message)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_command_to_a_closed_pipe_exits_like_others_without_a_word(data: Path, command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert knet(data, command, writer) == (READER_GONE, "")
    os.close(writer)


@pytest.mark.parametrize(
    ("redirection", "code"),
    [("--help >&-", 0), ("nothing >/dev/full", 2), ("nothing 2>/dev/full", 2), ("--help | cat", 0)],
)
def test_command_keeps_its_exit_code(redirection: str, code: int) -> None:
    shell = f"{shlex.join(PROGRAM)} {redirection}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, check=False)
    assert done.returncode == code
