"""Finds the run that a served version came from."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.errors import UserError
from pipeline.registry import RunRegistry
from pipeline.run_record import RunRecord, read_record


def find_version(version: str, registry: RunRegistry, *, where: Path) -> RunRecord:
    """The record of the first run that pushed a version; later ones were answered from the cache.

    Args:
        version: as its folder is named.
        registry: of the runs.
        where: they are, for the message.

    Raises:
        UserError: no run pushed it, and the text names the versions that were; or a record is broken.
    """
    pushed: dict[str, Path] = {}
    for file in registry.runs().values():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))["pushed_version"]
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{file} is no record of a run") from None
        if found:
            pushed.setdefault(found, file)
    if version not in pushed:
        known = f"pushed were {', '.join(reversed(pushed))}" if pushed else "none was pushed yet"
        raise UserError(f"no run in {where} pushed version {version}; {known}")
    return read_record(pushed[version])
