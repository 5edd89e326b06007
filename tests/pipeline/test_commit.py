"""The commit of a checkout is known, with whether it was edited; elsewhere there is none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.commit import commit


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("one", "utf-8")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for command in (("init", "-q"), ("add", "file"), (*author, "commit", "-q", "-m", "first"), ("tag", "v1")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_clean_checkout_and_an_edited_one(checkout: Path) -> None:
    command = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout.strip()
    assert commit(checkout) == head
    (checkout / "file").write_text("two", "utf-8")
    assert commit(checkout) == f"{head}-dirty"


def test_an_installed_package_within_another_checkout_has_none(checkout: Path) -> None:
    (checkout / "site-packages").mkdir()
    assert commit(checkout / "site-packages") is None


def test_an_installed_package_has_the_commit_that_its_image_was_built_from(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNET_COMMIT", "0123abc")
    assert commit(checkout / "site-packages") == "0123abc"
    assert commit(checkout) != "0123abc"
    monkeypatch.setenv("KNET_COMMIT", "")
    assert commit(checkout / "site-packages") is None


def test_without_git_there_is_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert commit(checkout) is None
