"""How a container fails: its log ends with the reason."""

from __future__ import annotations

import logging
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from pipeline.errors import UserError


@contextmanager
def last_words() -> Iterator[None]:
    """Ends the process with code 1 where something fails; why is the log's last line, and is noted."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        try:
            # Here, since what notes are of, such as configurations, takes a while to import.
            from pipeline.runners.kubeflow.run_notes import note_failure

            note_failure(error)
        finally:
            for handler in logging.getLogger().handlers:
                handler.flush()
            print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


def _stop(number: int, frame: Any) -> NoReturn:
    """Kubernetes stops a container by this signal and waits for a while: time to write out what is known."""
    print("error: stopped by SIGTERM", file=sys.stderr, flush=True)
    raise SystemExit(128 + number)
