"""Finds a run by what a user calls it."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import UserError
from pipeline.registry import RunRegistry
from pipeline.report.run_files import RECORD
from pipeline.run_record import RunRecord, read_record
from pipeline.workspace import Workspace

LAST = "last"
_SHOWN = 10


def find_run(name: str, workspace: Workspace) -> tuple[RunRecord, Path]:
    """The record of a run and its folder.

    Args:
        name: a run id, `last`, or the folder of a run, wherever it lies.
        workspace: whose registry knows the id.

    Raises:
        UserError: there is no such run; the text names those that there are.
    """
    folder = Path(name)
    if (folder / RECORD).is_file():
        return read_record(folder / RECORD), folder
    known = RunRegistry(workspace.registry).runs()
    if not known:
        raise UserError(f"there is no run in {workspace.root} yet, nor is {name} the folder of one")
    run_id = list(known)[-1] if name == LAST else name
    if run_id not in known:
        raise UserError(
            f"no run {name} in {workspace.root}, nor is it the folder of one; "
            f"there are {_listed(list(known))}"
        )
    return read_record(known[run_id]), workspace.reports / run_id


def _listed(names: list[str]) -> str:
    """The newest, so that many runs do not fill the screen."""
    earlier = f" and {len(names) - _SHOWN} earlier ones" if len(names) > _SHOWN else ""
    return ", ".join(reversed(names[-_SHOWN:])) + earlier
