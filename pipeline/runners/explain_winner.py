"""Explains the winner of a run on its test images, once."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.digest import code_digest, text_digest
from pipeline.explanations.write_explanations import EXPLANATIONS, write_explanations


def explain_winner(model: Path, examples: Path, folder: Path, *, count: int, kept: Path) -> None:
    """Has `write_explanations` fill a folder of the run, or copies what it wrote for an earlier one.

    Args:
        model: folder of the winner's Model artifact, which never changes.
        examples: folder of the ingested examples of the test split, likewise.
        folder: where; must not exist.
        count: images of each kind.
        kept: folder for the explanations of all runs.
    """
    code = code_digest("pipeline.explanations.write_explanations")
    own = kept / text_digest(str(model), str(examples), str(count), code)
    if not (own / EXPLANATIONS).is_file():
        write_explanations(model, examples, own, count=count)
    shutil.copytree(own, folder)
