"""Names patients in the log in such a way that nobody can tell who they are without the key."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path
from typing import Final

from pipeline.errors import UserError

KEY_VARIABLE: Final = "KNET_LOG_KEY"
_LEAST = 16  # bytes: accessions are few, so a short key could be found by trying all of them


def pseudonym(patient: str, *, key: bytes) -> str:
    """HMAC-SHA-256 of a patient's name or accession, in hexadecimal: the same patient, the same text."""
    return hmac.new(key, patient.encode(), hashlib.sha256).hexdigest()


def read_key(file: Path | None = None) -> bytes | None:
    """The key in a file, else in the environment variable KNET_LOG_KEY; None where neither is given.

    Raises:
        UserError: the file cannot be read, or the key is shorter than 16 bytes.
    """
    if file is None:
        text = os.environ.get(KEY_VARIABLE)
        return None if text is None else _checked(text.encode(), where=KEY_VARIABLE)
    try:
        return _checked(file.read_bytes(), where=str(file))
    except OSError as error:
        raise UserError(f"cannot read the key of the request log, {file}: {error.strerror}") from None


def _checked(key: bytes, *, where: str) -> bytes:
    key = key.strip()
    if len(key) < _LEAST:
        raise UserError(
            f"{where}: the key of the request log must have {_LEAST} bytes or more; "
            "make one with: openssl rand -hex 32"
        )
    return key
