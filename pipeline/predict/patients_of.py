"""Whose image each is."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from components.breakhis_example_gen import breakhis_name
from components.breakhis_example_gen.listing import counted, listing
from pipeline.errors import UserError

BREAKHIS: Final = "breakhis"


def patients_of(files: Iterable[Path], source: str) -> dict[Path, str]:
    """The patient of each file.

    Args:
        files: images.
        source: `breakhis`, by their names; or a CSV file with the columns `path`, from where it lies, and
            `group`, as a manifest has them.

    Raises:
        UserError: a file's patient is unknown, or the CSV file cannot be read; the text says which.
    """
    groups = None if source == BREAKHIS else _groups(Path(source))
    patients: dict[Path, str] = {}
    problems = []
    for file in files:
        try:
            patients[file] = groups[file.resolve()] if groups else breakhis_name.parse_name(file.name).patient
        except KeyError:
            problems.append(f"{file}: {source} has no row for it")
        except ValueError as error:
            problems.append(f"{file}: {error}")
    if problems:
        raise UserError(
            listing(f"no patient is known of {counted(len(problems), 'image')}", problems)
            + "\nleave them out, or name a CSV file with the columns path and group"
        )
    return patients


def _groups(file: Path) -> dict[Path, str]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines, strict=True))
        groups = {(file.parent / row["path"]).resolve(): row["group"] for row in rows}
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; give {BREAKHIS} or a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} is not CSV in UTF-8 ({error})") from error
    except KeyError as error:
        raise UserError(
            f"{file} lacks the column {error}: its first line must name path and group"
        ) from error
    if not groups or not all(groups.values()):
        raise UserError(f"{file} has no rows, or one whose group is empty: name the patient of each image")
    return groups
