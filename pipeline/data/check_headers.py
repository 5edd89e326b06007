"""A quick look at how image files begin and end; no pixel is decoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from components.breakhis_example_gen.quality import FORMATS, check_header, check_png_end
from components.breakhis_example_gen.quarantine import UnusableError

_START = 32  # bytes, in which a PNG says how many bits it has
_END = 1024  # bytes, in which it ends, with what was put behind it


def check_headers(folder: Path, paths: Sequence[str]) -> dict[str, str]:
    """What is wrong with each file that is, by its first and last bytes, no image which can be ingested.

    Args:
        folder: that the paths are in.
        paths: of files.
    """
    with ThreadPoolExecutor() as pool:
        reasons = pool.map(lambda path: _reason(folder / path), paths)
        return {path: reason for path, reason in zip(paths, reasons, strict=True) if reason}


def _reason(path: Path) -> str | None:
    if not path.is_file():  # a pipe would never end
        return "not a file"
    try:
        with path.open("rb") as file:
            start = file.read(_START)
            if not start:
                return "zero bytes"
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                check_header(image, start)
                if image.format == "PNG":
                    file.seek(-min(_END, path.stat().st_size), os.SEEK_END)
                    check_png_end(file.read())
    except UnusableError as error:
        return str(error)
    except Exception as error:  # decoders raise anything on a damaged file
        unread = getattr(error, "strerror", None)  # the system's word, where the file cannot be read at all
        return f"cannot be read ({unread})" if unread else "not an image, or damaged in its first bytes"
    return None
