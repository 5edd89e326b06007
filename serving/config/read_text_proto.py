"""Reads a message from its text form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from pipeline.errors import UserError


def read_text_proto(file: Path, message: Any) -> Any:
    """One message of a class.

    Raises:
        UserError: the file cannot be read, or has a field that the class lacks; the text names the line.
    """
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), message())
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no {message.DESCRIPTOR.name} in text form: {error}") from None
