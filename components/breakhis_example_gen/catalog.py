"""Reads the BreaKHis folder layout: which images there are, and what their names say."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from components.breakhis_example_gen.breakhis_name import GRAMMAR, parse
from components.breakhis_example_gen.image_file import ImageFile
from pipeline import features
from pipeline.errors import UserError

_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk; decoders refuse a file without it
# What Pillow raises on a damaged or absurdly large file.
UNREADABLE = (OSError, SyntaxError, ValueError, IndexError, Image.DecompressionBombError)
_IGNORED = {"Thumbs.db", "desktop.ini"}  # what file managers leave behind; hidden files are passed over too
_LISTED = 10  # problems named in one message


@dataclass(frozen=True)
class Catalog:
    """The images of a data folder, and those left out on purpose."""

    root: Path  # holds the folders benign and malignant
    images: tuple[ImageFile, ...]  # sorted by path
    left_out: tuple[ImageFile, ...] = ()  # second copies of a slide that stands under two subtypes


def read_catalog(folder: Path, *, keep_duplicate_slides: bool = False) -> Catalog:
    """Lists the images of a BreaKHis folder by their names alone; no image is opened.

    Args:
        folder: `BreaKHis_v1`, the folder that holds it, or one of the folders down to `breast`.
        keep_duplicate_slides: keep the second copy of a slide filed under two subtypes (14-13412).

    Raises:
        UserError: the folder is missing or laid out otherwise, holds no image, or a file's name does not
            follow the grammar or contradicts its folder.
    """
    root = _find_root(folder)
    images, problems = [], []
    for path in _walk(root):
        try:
            images.append(parse(path))
        except ValueError as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise UserError(_listing(f"{len(problems)} files in {root} are not BreaKHis images", problems))
    if not images:
        raise UserError(f"no images found in {root}: expected PNG files named {GRAMMAR}")
    images.sort()
    if keep_duplicate_slides:
        return Catalog(root=root, images=tuple(images))
    kept, left_out = _without_duplicate_slides(images)
    return Catalog(root=root, images=tuple(kept), left_out=tuple(left_out))


def check_files(catalog: Catalog) -> str:
    """Reads every file once, checks that it is a whole 8-bit RGB PNG, and returns a fingerprint of it all.

    The fingerprint is the SHA-256, in hexadecimal, of all paths and contents: it changes with the data only.

    Raises:
        UserError: names the files that cannot be read, are truncated or are not 8-bit RGB PNGs.
    """
    digest, problems = hashlib.sha256(), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda image: _check_file(catalog.root / image.path), catalog.images)
        for image, (content, problem) in zip(catalog.images, results, strict=True):
            digest.update(f"{image.path}\0{content}\n".encode())
            if problem:
                problems.append(f"{image.path}: {problem}")
    if problems:
        heading = f"{len(problems)} of {len(catalog.images)} images in {catalog.root} cannot be used"
        raise UserError(_listing(heading, problems) + "\nreplace or remove them, then run again")
    return digest.hexdigest()


def _find_root(folder: Path) -> Path:
    # Not Path.is_dir, which fails below a folder that may not be read.
    if not os.path.isdir(folder):  # noqa: PTH112
        raise UserError(f"no such data folder: {folder}")
    for below in ("", "breast", "histology_slides/breast", "BreaKHis_v1/histology_slides/breast"):
        root = folder / below
        if any(os.path.isdir(root / name) for name in features.CLASSES):  # noqa: PTH112
            return root
    raise UserError(
        f"{folder} is not a BreaKHis folder: expected BreaKHis_v1/histology_slides/breast/"
        "<benign|malignant>/SOB/<subtype>/<slide>/<magnification>/<image>.png in it"
    )


def _walk(root: Path) -> Iterator[str]:
    """Files below the class folders; links to folders are followed, which `rglob` would not do."""
    for name in features.CLASSES:
        for folder, subfolders, files in os.walk(root / name, followlinks=True, onerror=_refuse):
            subfolders[:] = sorted(f for f in subfolders if not f.startswith("."))
            for file in sorted(files):
                if file not in _IGNORED and not file.startswith("."):
                    yield (Path(folder) / file).relative_to(root).as_posix()


def _refuse(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return  # there is no folder for this class; the splits ask for both
    raise UserError(f"cannot read the folder {error.filename}: {error.strerror}; mend its permissions")


def _without_duplicate_slides(
    images: list[ImageFile],
) -> tuple[list[ImageFile], list[ImageFile]]:
    """Keeps, of a slide that is filed under several subtypes of a class, the images of the first by name.

    By slide, not by image: two of the copies of 14-13412 have other sequence numbers than their originals.
    """
    first: dict[tuple[str, str], str] = {}
    kept: list[ImageFile] = []
    left_out: list[ImageFile] = []
    for image in images:  # sorted, so that the first subtype by name comes first
        subtype = image.column("subtype")
        kept_under = first.setdefault((image.label, image.column("slide")), subtype)
        (kept if subtype == kept_under else left_out).append(image)
    return kept, left_out


def _check_file(path: Path) -> tuple[str, str | None]:
    """The file's SHA-256, and what is wrong with it."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            mode = image.mode
            image.verify()  # all chunks are there, and their checksums are right
    except UNREADABLE as error:
        return "", f"not a readable PNG ({error})"
    bits = content[24]  # Pillow calls 16-bit RGB "RGB" too
    problem = None
    if not content.endswith(_PNG_END):
        problem = "not a readable PNG (its end is missing)"
    elif (mode, bits) != ("RGB", 8):
        problem = f"not an 8-bit RGB image but {mode}, {bits} bits"
    return hashlib.sha256(content).hexdigest(), problem


def _listing(heading: str, problems: list[str]) -> str:
    more = [f"  and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
    return "\n".join([f"{heading}:", *(f"  {problem}" for problem in problems[:_LISTED]), *more])
