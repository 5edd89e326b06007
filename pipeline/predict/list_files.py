"""Which files are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from pipeline.errors import UserError
from serving.client import find_images


def list_files(names: Sequence[str], *, stdin: TextIO) -> tuple[list[Path], dict[str, int]]:
    """Each file once, in order, and how many others there are in folders that hold some.

    Args:
        names: files, folders that are searched for images, and `-` for file names on standard input.
        stdin: a file name a line; empty lines count for nothing.

    Raises:
        UserError: a folder cannot be read or holds no image, or there is no file.
    """
    files: list[Path] = []
    passed_over = {}
    for name in names:
        if name == "-":
            files += [Path(line) for line in stdin.read().split("\n") if line]
        elif Path(name).is_dir():
            images, others = find_images(Path(name))
            files += images
            if others:
                passed_over[name] = others
        else:
            files.append(Path(name))
    if not files:
        raise UserError("standard input names no image: write a file name a line")
    return list(dict.fromkeys(files)), passed_over
