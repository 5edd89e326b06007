"""Draft of a manifest: labels and groups of images from patterns of their paths."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.base.image_formats import IMAGE_SUFFIXES
from knet.base.system_files import is_system_file
from knet.base.text import counted, list_problems, printable
from knet.data import breakhis
from knet.data.folders import Folder
from knet.data.manifest import REQUIRED


@dataclass(frozen=True)
class ManifestDraft:
    """Rows of a manifest.

    Attributes:
        rows: path, label and group of each image, sorted by path.
    """

    rows: tuple[tuple[str, str, str], ...]

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Images and groups of each label."""
        images = Counter(label for _, label, _ in self.rows)
        groups = Counter(label for label, _ in {(label, group) for _, label, group in self.rows})
        return {label: (count, groups[label]) for label, count in sorted(images.items())}

    @property
    def notes(self) -> list[str]:
        """What is suspicious about the groups, a sentence each."""
        labels: dict[str, set[str]] = {}
        for _, label, group in self.rows:
            labels.setdefault(group, set()).add(label)
        mixed = sorted(group for group, found in labels.items() if len(found) > 1)
        notes = []
        if mixed:
            notes.append(
                f"{counted(len(mixed), 'group')} with images of several labels, such as {mixed[0]!r}: a run "
                "refuses them; is --group-from right?"
            )
        if len(labels) == len(self.rows) > 1:
            notes.append(
                "every image is a group of its own: images of one patient could be in several splits; is "
                "--group-from right?"
            )
        return notes

    def write(self, file: Path) -> None:
        """Write the manifest as CSV."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerows([REQUIRED, *self.rows])
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(file, text.getvalue())


def draft_manifest(folder: Path, *, label_pattern: str, group_pattern: str | None) -> ManifestDraft:
    """Draft a manifest of the images below a folder.

    Args:
        folder: Folder of the images.
        label_pattern: Regular expression, searched in the path relative to the folder; its group, or the one
            named `label`, is the label.
        group_pattern: The same for the group (patient). None: the patients of BreaKHis's file names.

    Raises:
        UserError: The folder has no images, or a pattern is invalid or does not match; the message lists
            paths.
    """
    source = Folder(Path(folder).resolve())
    if not source.location.is_dir():
        raise UserError(f"{folder}: no such folder")
    names = [name for name in source.files() if not is_system_file(name)]
    images = [name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise UserError(
            f"{folder} holds no image: expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    labels = _matches(images, label_pattern, "--label-from", name="label")
    groups = (
        _matches(images, group_pattern, "--group-from", name="group")
        if group_pattern is not None
        else _breakhis_patients(images)
    )
    return ManifestDraft(tuple(sorted(zip(images, labels, groups, strict=True))))


def _matches(paths: Sequence[str], pattern: str, option: str, *, name: str) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"{option} {pattern!r} is no regular expression: {error}") from None
    if name not in compiled.groupindex and compiled.groups != 1:
        raise UserError(
            f"{option} {pattern!r} must have one group in parentheses, or one named {name}: (?P<{name}>...)"
        )
    wanted = name if name in compiled.groupindex else 1
    found = [compiled.search(path) for path in paths]
    texts = [match[wanted] if match else None for match in found]
    if missing := [printable(path) for path, text in zip(paths, texts, strict=True) if not text]:
        raise UserError(
            list_problems(f"{option} {pattern!r} matches nothing in {counted(len(missing), 'path')}", missing)
        )
    return [text for text in texts if text]


def _breakhis_patients(paths: Sequence[str]) -> list[str]:
    try:
        return [breakhis.parse_name(PurePosixPath(path).name).patient for path in paths]
    except ValueError as error:
        raise UserError(
            f"{error}; name the group (patient) of each image with --group-from, a regular expression such "
            "as '([^/_]+)_[^/]*$' for the start of the file name up to _"
        ) from None
