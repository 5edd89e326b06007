"""Errors about input: what a user can fix, and files that are no usable images."""

from __future__ import annotations


class UserError(Exception):
    """A user-correctable problem; the message names the file or field, what is wrong and the remedy.

    The command line prints the message without a traceback and exits with code 2.
    """


class UnusableError(Exception):
    """A file that is not a usable image; the message is the reason."""
