"""The error for everything a user can mend: bad input, bad configuration, refused data."""

from __future__ import annotations


class UserError(Exception):
    """A problem with what the user gave; its text names the file or field and the remedy.

    The command line prints the text without a traceback and exits with code 2.
    """
