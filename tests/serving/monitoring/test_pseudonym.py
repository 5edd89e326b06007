"""Names that only the key's owner can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from serving.monitoring.pseudonym import KEY_VARIABLE, pseudonym, read_key

KEY = b"0123456789abcdef"


def test_it_is_an_hmac_of_the_name() -> None:
    # echo -n 14-22549 | openssl dgst -sha256 -hmac 0123456789abcdef
    expected = "fa93df886277592ebbcee6f833f4e2175b07f4652817ef0a4b5d9cf2d9611364"
    assert pseudonym("14-22549", key=KEY) == expected


def test_another_key_or_patient_is_another_name() -> None:
    names = {pseudonym(patient, key=key) for patient in ("14-1", "14-2") for key in (KEY, KEY[::-1])}
    assert len(names) == 4


def test_the_key_is_in_a_file_or_else_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert read_key() is None
    monkeypatch.setenv(KEY_VARIABLE, "of the environment")
    (tmp_path / "key").write_bytes(KEY + b"\n")
    assert read_key() == b"of the environment"
    assert read_key(tmp_path / "key") == KEY


@pytest.mark.parametrize("key", ["", "short", " " * 20])
def test_a_key_that_could_be_guessed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    (tmp_path / "key").write_text(key, encoding="utf-8")
    with pytest.raises(UserError, match=r"key: the key of the request log must have 16 bytes"):
        read_key(tmp_path / "key")
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(UserError, match=KEY_VARIABLE):
        read_key()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the key of the request log, .*none: No such file"):
        read_key(tmp_path / "none")
