"""The error that a user can fix: bad input, bad configuration, rejected data."""

from __future__ import annotations


class UserError(Exception):
    """A user-correctable problem; the message names the file or field, what is wrong and the remedy.

    The command line prints the message without a traceback and exits with code 2.
    """
