"""Lists the images of a data set by their names alone, before any of them is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from knet.base.errors import UserError
from knet.base.storage import object_uri
from knet.base.text import list_problems, printable
from knet.data import breakhis
from knet.data.archives import TarArchive, TarGzArchive, ZipArchive
from knet.data.folders import Folder, ObjectFolder
from knet.data.image_checks import Quarantined
from knet.data.manifest import read_manifest
from knet.data.source import ImageFile, Source

# What file managers and archivers leave behind; hidden files and folders are passed over too.
_IGNORED_FILES = {"Thumbs.db", "desktop.ini"}
_IGNORED_FOLDERS = {"__MACOSX"}
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
_ABOVE_CLASSES = re.compile(rf"((?:[^/]+/)*?)(?:{'|'.join(breakhis.CLASSES)})/")


@dataclass(frozen=True)
class Catalog:
    """The files of a data set, each in one of four lists."""

    source: Source  # its names are the paths
    images: tuple[ImageFile, ...]  # sorted by path
    quarantined: tuple[Quarantined, ...] = ()  # no images by their names, or in a wrong place
    left_out: tuple[ImageFile, ...] = ()  # second copies of a slide that stands under two subtypes
    passed_over: tuple[str, ...] = ()  # beside the folders of the classes, such as a README
    manifest: Path | None = None
    sizes: tuple[tuple[str, int], ...] = ()  # bytes by path, of all of these but what is passed over outside

    @property
    def location(self) -> Path:
        """The manifest, archive or folder: the one of the classes, unless an image lies beside it."""
        return self.manifest or self.source.location

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that every image has."""
        return tuple(name for name, _ in self.images[0].columns)

    @property
    def slices(self) -> tuple[str, ...]:
        """Those of them by which models are judged, where the configuration names none."""
        return self.columns if self.manifest else breakhis.SLICES


def read_catalog(
    location: Path,
    *,
    root: Path | None = None,
    classes: Sequence[str] = breakhis.CLASSES,
    keep_duplicate_slides: bool = False,
) -> Catalog:
    """Lists a data set; no image is opened.

    Args:
        location: BreaKHis, as a folder or an archive: `BreaKHis_v1`, what holds it, or one of the folders
            down to `breast`; all files in it are looked at. Or a CSV manifest of other images.
        root: the folder or archive that a manifest's paths are in; none means the manifest's own folder.
        classes: the labels that there may be.
        keep_duplicate_slides: keep the second copy of a slide filed under two subtypes (14-13412).

    Raises:
        UserError: the data are missing or laid out otherwise, hold no image, or a manifest is wrong.
    """
    if location.suffix.lower() == ".csv":
        if object_uri(location):
            raise UserError(
                f"{object_uri(location)}: a manifest must be on a disk; its images may be in an object "
                "store, which data.root names"
            )
        manifest = location.resolve()
        source = open_source(root or manifest.parent)
        sizes = read_manifest(manifest, source, classes=classes)
        return Catalog(
            source=source,
            images=tuple(sizes),
            manifest=manifest,
            sizes=tuple((image.path, size) for image, size in sizes.items()),
        )
    if root:
        raise UserError(f"data.root is for a manifest, but {location} is none")
    if set(classes) != set(breakhis.CLASSES):
        raise UserError(
            f"data.classes are {' and '.join(classes)}, but the classes of BreaKHis are "
            f"{' and '.join(breakhis.CLASSES)}"
        )
    return _read_breakhis(open_source(location), keep_duplicate_slides=keep_duplicate_slides)


def _read_breakhis(source: Source, *, keep_duplicate_slides: bool) -> Catalog:
    source, sizes = _below_breast(source)
    images, quarantined, passed_over = [], [], []
    for name in sizes:
        if name.partition("/")[0] in breakhis.CLASSES:
            try:
                images.append(breakhis.parse(name))
            except ValueError as error:
                quarantined.append(Quarantined(printable(name), str(error)))
        elif PurePosixPath(name).suffix.lower() in _IMAGE_SUFFIXES:
            quarantined.append(Quarantined(printable(name), "outside the folders benign and malignant"))
        else:
            passed_over.append(name)
    if not images:
        problems = [f"{file.path}: {file.reason}" for file in quarantined]
        raise UserError(
            f"no images found in {source.location}: expected PNG files named {breakhis.GRAMMAR}"
            + ("\n" + list_problems("instead there are", problems) if problems else "")
        )
    if isinstance(source, Folder) and not any(file.path.startswith("/") for file in quarantined):
        source = Folder(source.folder)  # one spelling, from wherever above it was named
    ignored = {name for name in passed_over if name.startswith("/")}
    kept, left_out = (images, []) if keep_duplicate_slides else _without_duplicate_slides(images)
    return Catalog(
        source=source,
        images=tuple(kept),
        quarantined=tuple(quarantined),
        left_out=tuple(left_out),
        passed_over=tuple(map(printable, passed_over)),
        # What a folder above holds beside the data, such as the output of a run, makes them no others.
        sizes=tuple((name, sizes[name]) for name in sizes if name not in ignored),
    )


def _below_breast(source: Source) -> tuple[Source, dict[str, int]]:
    """The part of a source that holds the folders of the classes, and bytes by name of all its files.

    What the source holds beside that part is named with a slash before it.
    """
    files = {name: size for name, size in source.files().items() if not _is_left_behind(name)}
    roots = sorted({match[1] for match in map(_ABOVE_CLASSES.match, files) if match})
    if not roots:
        raise UserError(
            f"{source.location} is not BreaKHis: expected BreaKHis_v1/histology_slides/breast/"
            "<benign|malignant>/SOB/<subtype>/<slide>/<magnification>/<image>.png in it"
        )
    if len(roots) > 1:
        places = " and ".join(printable(root) or "./" for root in roots)
        raise UserError(f"{source.location} holds BreaKHis more than once, in {places}")
    (root,) = roots
    named = {name.removeprefix(root) if name.startswith(root) else f"/{name}": files[name] for name in files}
    return source.below(root), dict(sorted(named.items()))


def _is_left_behind(name: str) -> bool:
    *folders, file = name.split("/")
    return (
        file in _IGNORED_FILES
        or any(part.startswith(".") for part in (*folders, file))
        or not _IGNORED_FOLDERS.isdisjoint(folders)
    )


def _without_duplicate_slides(
    images: Sequence[ImageFile],
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


_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


def open_source(path: Path) -> Source:
    """The folder or archive at a path, or the folder at a URI of an object store; nothing is read yet.

    Raises:
        UserError: there is none, or it is of another kind.
    """
    if object_uri(path):
        if path.name.lower().endswith(_ARCHIVES):
            raise UserError(
                f"{object_uri(path)}: an archive must be on a disk; unpack it in the object store"
            )
        return ObjectFolder(path)
    # Not Path.is_dir, which fails below a folder that may not be read.
    if os.path.isdir(path):  # noqa: PTH112
        return Folder(path.resolve())
    if not os.path.isfile(path):  # noqa: PTH113
        raise UserError(f"no such data folder or archive: {path}")
    name = path.name.lower()
    if name.endswith((".tar.gz", ".tgz")):
        return TarGzArchive(path.resolve())
    if name.endswith(".tar"):
        return TarArchive(path.resolve())
    if name.endswith(".zip"):
        return ZipArchive(path.resolve())
    raise UserError(f"{path}: expected a folder, a .zip, .tar, .tar.gz or .tgz archive, or a .csv manifest")
