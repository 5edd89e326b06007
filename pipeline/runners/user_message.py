"""Finds what a user can mend in an error."""

from __future__ import annotations

import re

from pipeline.errors import UserError


def user_message(error: Exception) -> str | None:
    """The text of the UserError that an error is; Beam's workers hand theirs on as text only."""
    if isinstance(error, UserError):
        return re.sub(r" \[while running .*\]$", "", str(error))  # which Beam adds
    match = re.search(
        rf"{UserError.__module__}\.{UserError.__name__}: (.+?)(?: \[while running|$)", str(error), re.M
    )
    return match and match[1]
