"""The headers of every call."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.errors import UserError

_NAME = re.compile(r"[a-z0-9_.-]+")
_VALUE = re.compile(r"[\x20-\x7e]+")


def call_headers(token: str | None, metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """As gRPC takes them.

    Args:
        token: sent as `authorization: Bearer <token>`.
        metadata: further ones.

    Raises:
        UserError: gRPC cannot send one; the text names it, but no token.
    """
    if token is not None and (not _VALUE.fullmatch(token) or " " in token):
        raise UserError("the token is empty, or holds a space or what is not ASCII: give it alone")
    for name, value in metadata.items():
        if not _NAME.fullmatch(name) or name.endswith("-bin") or not _VALUE.fullmatch(value):
            raise UserError(
                f"the header {name!r} cannot be sent: small letters, digits, '-', '_' and '.' make a name, "
                "printable ASCII a value"
            )
    bearer = {"authorization": f"Bearer {token}"} if token is not None else {}
    return tuple({**metadata, **bearer}.items())
