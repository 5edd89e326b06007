"""What killed runs leave below an output folder: temporary files, and outputs of nodes that never ended."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from knet.base.files import TEMPORARY
from knet.runs.workspace import Workspace


def temporary_files(workspace: Workspace) -> list[Path]:
    """Return the unfinished files of caches; nothing may run.

    Args:
        workspace: a workspace in which nothing runs.
    """
    folders = workspace.feature_maps, workspace.checkpoints, workspace.explanations
    return [file for folder in folders for file in folder.rglob(f".*{TEMPORARY}")]


def unfinished_outputs(workspace: Workspace, executions: Iterable[int]) -> list[Path]:
    """Return the outputs of executions that never ended.

    Args:
        workspace: a workspace in which nothing runs.
        executions: their ids.
    """
    return [path for number in executions for path in workspace.artifacts.glob(f"*/*/{number}")]
