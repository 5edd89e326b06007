"""Environment variables that do not depend on the user's."""

from __future__ import annotations

import pwd
import tempfile
from pathlib import Path

import pytest

from knet.base.environment import set_environment


def test_a_user_without_a_home_gets_the_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entry(number: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    with pytest.raises(RuntimeError, match="home"):
        Path.home()
    set_environment()
    assert Path.home() == Path(tempfile.gettempdir())


def test_an_existing_home_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    set_environment()
    assert Path.home() == tmp_path
