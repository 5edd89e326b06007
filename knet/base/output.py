"""Standard output whose reader may have gone, and which may be full."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, TextIO

from knet.base.errors import UserError

READER_GONE: Final = 128 + signal.SIGPIPE  # exit code, as shells have it


def open_output(descriptor: int, *, encoding: str, errors: str | None = None) -> TextIO:
    """Open a descriptor for text; it stays open when the file is closed.

    Where its reader has gone, the first write raises `SystemExit(READER_GONE)`: the process ends without a
    message, as SIGPIPE ends other programs. Any other failure is a `UserError`. Later writes have no effect.

    Args:
        descriptor: A file descriptor.
        encoding: Encoding of the text.
        errors: Handling of characters that it lacks. Default: they are errors.
    """
    buffer = io.BufferedWriter(_Output(descriptor, "w", closefd=False))
    return io.TextIOWrapper(buffer, encoding, errors, line_buffering=os.isatty(descriptor))


class _Output(io.FileIO):
    reader_gone: ClassVar = False  # of any of them
    _failed = False

    def write(self, content: Any) -> int:
        """Write some bytes; see `open_output`."""
        size = memoryview(content).nbytes
        if self._failed:
            return size
        try:
            return super().write(content)
        except OSError as error:
            self._failed = True
            self._fail(error)
            return size

    def _fail(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            _Output.reader_gone = True
            raise SystemExit(READER_GONE) from None
        raise UserError(
            f"standard output: {error.strerror}; redirect it to a file that can be written"
        ) from None


class _Errors(_Output):
    """Standard error: where it fails, nothing can be said."""

    def _fail(self, error: OSError) -> None:
        """Ignore the failure: the exit code remains."""


@contextmanager
def checked_output() -> Iterator[None]:
    """Replace `sys.stdout` by an `open_output`, and `sys.stderr` by a file whose failures are ignored."""
    former = sys.stdout, sys.stderr
    _Output.reader_gone = False
    try:
        if sys.stdout is not None:  # closed when the process started
            sys.stdout = open_output(1, encoding=sys.stdout.encoding, errors=sys.stdout.errors)
        if sys.stderr is not None:
            buffer = io.BufferedWriter(_Errors(2, "w", closefd=False))
            sys.stderr = io.TextIOWrapper(buffer, sys.stderr.encoding, sys.stderr.errors, line_buffering=True)
        yield
    except Exception:
        if _Output.reader_gone:  # libraries wrap what a thread of theirs raises
            raise SystemExit(READER_GONE) from None
        raise
    finally:
        for file in (sys.stdout, sys.stderr):
            if file is not None:
                file.flush()
        sys.stdout, sys.stderr = former
