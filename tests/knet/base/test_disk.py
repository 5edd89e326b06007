"""A full disk is named with its space and the remedy."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from knet.base.disk import disk_full, require_space
from knet.base.errors import UserError


def _raise_from(cause: Exception) -> Exception:
    try:
        raise ValueError("the node failed") from cause
    except ValueError as error:
        return error


def test_disk_full_of_a_real_write() -> None:
    with pytest.raises(OSError) as caught, Path("/dev/full").open("w") as file:
        file.write("x")
    message = disk_full(caught.value, folder=Path("/dev"))
    assert message and message.startswith("/dev: the disk is full (") and "free space" in message


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/tmp/none/model"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "/tmp/none/model"),
        _raise_from(OSError(errno.ENOSPC, "No space left on device", "/tmp/none/model")),
        RuntimeError(
            "OSError: [Errno 28] No space left on device: '/tmp/none/model' [while running 'Write']"
        ),
        RuntimeError("RESOURCE_EXHAUSTED: /tmp/none/model; No space left on device"),
    ],
)
def test_disk_full_names_the_path(error: Exception) -> None:
    message = disk_full(error)
    assert message and message.startswith("/tmp/none/model: the disk is full (")


def test_disk_full_of_sqlite_names_the_folder(tmp_path: Path) -> None:
    message = disk_full(RuntimeError("INTERNAL: database or disk is full"), folder=tmp_path)
    assert message and message.startswith(f"{tmp_path}: the disk is full")


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied", "/x"), ValueError("full"), KeyError("x")])
def test_disk_full_ignores_other_errors(error: Exception) -> None:
    assert disk_full(error) is None


def test_require_space_names_both_sizes(tmp_path: Path) -> None:
    require_space(tmp_path / "new", 1, content="the model")
    with pytest.raises(
        UserError, match=r"new: no space for the model .1000000000.0 GB needed, .* left.; free"
    ):
        require_space(tmp_path / "new", 10**18, content="the model")
