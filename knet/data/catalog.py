"""Catalog of a data set: its images by their names alone, before any of them is opened."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from knet.base.errors import UserError
from knet.base.image_formats import IMAGE_SUFFIXES
from knet.base.packed_list import PackedList
from knet.base.storage import local_copy, object_uri
from knet.base.system_files import is_system_file
from knet.base.text import counted, list_names, list_problems, printable
from knet.data import breakhis
from knet.data.archives import RemoteArchive, is_archive, open_archive
from knet.data.folders import Folder, ObjectFolder
from knet.data.image_checks import Quarantined
from knet.data.manifest import read_manifest
from knet.data.source import ImageFile, Source

_ABOVE_CLASSES = re.compile(rf"((?:[^/]+/)*?)(?:{'|'.join(breakhis.CLASSES)})/")


@dataclass(frozen=True)
class Catalog:
    """The files of a data set, each in one of four lists."""

    source: Source  # the paths below are relative to it
    images: Sequence[ImageFile]  # sorted by path
    quarantined: tuple[Quarantined, ...] = ()  # misnamed or misplaced files
    excluded_duplicates: tuple[ImageFile, ...] = ()  # second copies of a slide filed under two subtypes
    other_classes: tuple[tuple[str, int], ...] = ()  # subtypes that are not wanted, with their images
    ignored_files: tuple[str, ...] = ()  # files that are no images, such as a README
    manifest: Path | None = None
    sizes: Sequence[
        tuple[str, int]
    ] = ()  # path and bytes, sorted; without ignored files above the class folders

    @property
    def location(self) -> Path:
        """The manifest, the archive, or the folder: of the classes, or one above if that holds images too."""
        return self.manifest or self.source.location

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, which all images share."""
        return tuple(name for name, _ in self.images[0].columns)

    @property
    def class_notes(self) -> tuple[str, ...]:
        """A line for each subtype whose images are excluded."""
        return tuple(
            f"{counted(count, 'image')} of {name} excluded: it is not in data.classes"
            for name, count in self.other_classes
        )

    @property
    def slices(self) -> tuple[str, ...]:
        """Columns that metrics are sliced by, where the configuration names none."""
        if self.manifest:
            return self.columns
        by_subtype = self.images[0].label not in breakhis.CLASSES
        return tuple(name for name in breakhis.SLICES if not (by_subtype and name == "subtype"))


def read_catalog(
    location: Path,
    *,
    root: Path | None = None,
    classes: Sequence[str] = breakhis.CLASSES,
    keep_duplicate_slides: bool = False,
) -> Catalog:
    """List a data set without opening any image.

    Args:
        location: BreaKHis as a folder or an archive (`BreaKHis_v1`, a folder above it, or one of the folders
            down to `breast`), or a CSV manifest of other images.
        root: Folder or archive that the paths of a manifest are relative to. Default: the manifest's folder.
        classes: Accepted labels. Of BreaKHis either both classes, or some of its subtypes: images of the
            others are excluded.
        keep_duplicate_slides: Whether to keep both copies of the slide filed under two subtypes (14-13412).

    Raises:
        UserError: The data are missing, laid out differently or without an image, or the manifest is invalid.
    """
    if location.suffix.lower() == ".csv":
        manifest = location if object_uri(location) else location.resolve()
        source = open_source(root or manifest.parent)
        rows = _read_manifest(manifest, source, classes)
        return Catalog(
            source=source,
            images=PackedList(image for image, _ in rows),
            manifest=manifest,
            sizes=PackedList((image.path, size) for image, size in rows),
        )
    if root:
        raise UserError(f"data.root is for a manifest, but {location} is none; remove data.root")
    by_subtype = set(classes) <= set(breakhis.SUBTYPES.values())
    if not by_subtype and set(classes) != set(breakhis.CLASSES):
        raise UserError(
            f"data.classes are {list_names(classes)}, but the classes of BreaKHis are "
            f"{list_names(breakhis.CLASSES)}; remove data.classes, or set data.label=subtype and name some "
            f"of {', '.join(breakhis.SUBTYPES.values())}"
        )
    catalog = _read_breakhis(open_source(location), keep_duplicate_slides=keep_duplicate_slides)
    return _label_by_subtype(catalog, classes) if by_subtype else catalog


def _read_manifest(
    manifest: Path, source: Source, classes: Sequence[str]
) -> PackedList[tuple[ImageFile, int]]:
    """Read a manifest on disk or in an object store; errors name the object."""
    with local_copy(manifest) as file:
        try:
            return read_manifest(file, source, classes=classes)
        except UserError as error:
            raise UserError(str(error).replace(str(file), object_uri(manifest) or str(file))) from None


def _label_by_subtype(catalog: Catalog, classes: Sequence[str]) -> Catalog:
    included: PackedList[ImageFile] = PackedList()
    others: Counter[str] = Counter()
    for image in catalog.images:
        subtype = image.column("subtype")
        if subtype in classes:
            included.append(replace(image, label=subtype))
        else:
            others[subtype] += 1
    if not included:
        raise UserError(
            f"data.classes: {catalog.location} has no image of {list_names(classes)}; name its subtypes"
        )
    return replace(catalog, images=included, other_classes=tuple(sorted(others.items())))


def _read_breakhis(source: Source, *, keep_duplicate_slides: bool) -> Catalog:
    source, sizes = _class_folders(source)
    images: PackedList[ImageFile] = PackedList()
    quarantined, ignored = [], []
    for name, _ in sizes:
        if name.partition("/")[0] in breakhis.CLASSES:
            try:
                images.append(breakhis.parse_path(name))
            except ValueError as error:
                quarantined.append(Quarantined(printable(name), str(error)))
        elif PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
            quarantined.append(Quarantined(printable(name), "outside the folders benign and malignant"))
        else:
            ignored.append(name)
    if not images:
        problems = [f"{file.path}: {file.reason}" for file in quarantined]
        raise UserError(
            f"no images found in {source.location}: expected PNG files named {breakhis.GRAMMAR}"
            + ("\n" + list_problems("instead there are", problems) if problems else "")
        )
    if isinstance(source, Folder) and not any(file.path.startswith("/") for file in quarantined):
        source = Folder(source.folder)  # one spelling, from wherever above it was named
    included, excluded = (images, []) if keep_duplicate_slides else _exclude_duplicate_slides(images)
    left_out = set(ignored)
    return Catalog(
        source=source,
        images=included,
        quarantined=tuple(quarantined),
        excluded_duplicates=tuple(excluded),
        ignored_files=tuple(map(printable, ignored)),
        # Other files in a folder above, such as the output of a run, do not change the fingerprint.
        sizes=PackedList(
            (name, size) for name, size in sizes if not (name.startswith("/") and name in left_out)
        ),
    )


def _class_folders(source: Source) -> tuple[Source, PackedList[tuple[str, int]]]:
    """Find the folder of the class folders, and return it with name and bytes of all files, sorted.

    Names are relative to that folder; those of files outside it start with a slash.
    """
    files = PackedList((name, size) for name, size in source.listing() if not is_system_file(name))
    roots = sorted({match[1] for name, _ in files if (match := _ABOVE_CLASSES.match(name))})
    if len(roots) != 1:
        raise UserError(_other_layout(source, [name for name, _ in files], roots))
    (root,) = roots
    below = ((name.removeprefix(root), size) for name, size in files if name.startswith(root))
    outside = ((f"/{name}", size) for name, size in files if not name.startswith(root))
    return source.below(root), PackedList(heapq.merge(below, outside))


def _other_layout(source: Source, files: Sequence[str], roots: Sequence[str]) -> str:
    """Return the message about a source that holds no BreaKHis, or holds it more than once."""
    if not roots:
        images = sum(PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES for name in files)
        return (
            f"{source.location} is not BreaKHis: expected BreaKHis_v1/histology_slides/breast/"
            "<benign|malignant>/SOB/<subtype>/<slide>/<magnification>/<image>.png in it"
            + (
                f"; its {counted(images, 'image')} can be named in a manifest, which knet data manifest "
                f"{shlex.quote(str(source.location))} writes"
                if images
                else ""
            )
        )
    places = " and ".join(printable(root) or "./" for root in roots)
    if not all(PurePosixPath(root).name.lower() in _SPLITS for root in roots):
        return f"{source.location} holds BreaKHis more than once, in {places}; name one of them"
    patients = [set(_patients(name for name in files if name.startswith(root))) for root in roots]
    shared = set.union(*(a & b for a, b in itertools.combinations(patients, 2)))
    return (
        f"{source.location} is a copy of BreaKHis with a split made by somebody else, in {places}; "
        f"{len(shared)} of its {len(set.union(*patients))} patients are in more than one part. Use the "
        "official archive (knet data download), or name the images in a manifest (knet data manifest)"
    )


_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}  # names of folders


def _patients(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        with contextlib.suppress(ValueError):
            yield breakhis.parse_name(name.rpartition("/")[2]).patient


def _exclude_duplicate_slides(
    images: Sequence[ImageFile],
) -> tuple[PackedList[ImageFile], list[ImageFile]]:
    """Divide images into those to include and the second copies of slides filed under several subtypes.

    The copy under the first subtype by name is included. Slides are compared, not images: two of the copies
    of 14-13412 have other sequence numbers than their originals.
    """
    first_subtype: dict[tuple[str, str], str] = {}
    included: PackedList[ImageFile] = PackedList()
    excluded: list[ImageFile] = []
    for image in images:  # sorted by path
        subtype = image.column("subtype")
        first = first_subtype.setdefault((image.label, image.column("slide")), subtype)
        if subtype == first:
            included.append(image)
        else:
            excluded.append(image)
    return included, excluded


def open_source(path: Path) -> Source:
    """Make the source for a folder or archive, on disk or in an object store; reads nothing yet.

    Args:
        path: Path, or a URI of an object store (`knet.base.storage.object_uri`).

    Raises:
        UserError: Nothing is at the path, or another kind of file.
    """
    if object_uri(path):
        return RemoteArchive(path) if is_archive(path.name) else ObjectFolder(path)
    # Not Path.is_dir, which fails below a folder that may not be read.
    if os.path.isdir(path):  # noqa: PTH112
        return Folder(path.resolve())
    if not os.path.isfile(path):  # noqa: PTH113
        raise UserError(f"no such data folder or archive: {path}")
    if is_archive(path.name):
        return open_archive(path.resolve())
    raise UserError(f"{path}: expected a folder, a .zip, .tar, .tar.gz or .tgz archive, or a .csv manifest")
