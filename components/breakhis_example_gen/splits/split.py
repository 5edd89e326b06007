"""Which patients are for what, as it is frozen in a file and given back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from components.breakhis_example_gen.listing import printable
from pipeline.errors import UserError


class Split(BaseModel):
    """The split of each patient, how it was made, and what to know about it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1  # of this format
    seed: int
    made: dict[str, str | int | float]  # how, with the settings that bear on it
    assignment: dict[str, Literal["train", "validation", "test"]]  # by patient
    notes: tuple[str, ...] = ()  # such as a slice that is not in every split

    @property
    def sha256(self) -> str:
        """Of the content in canonical JSON: sorted keys, no spaces, ASCII; in hexadecimal."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()

    def frozen(self) -> dict[str, Any]:
        """The content of a split file: the fields and their hash, for any JSON writer."""
        return {**self.model_dump(mode="json"), "sha256": self.sha256}


def read_split(text: str, file: Path) -> Split:
    """Reads the content of a split file, a JSON object, back.

    Raises:
        UserError: the content is not a whole split file, or was changed since it was written; the text names
            `file` and the remedy.
    """
    try:
        fields = json.loads(text)
        stated = fields.pop("sha256", None)
        split = Split.model_validate(fields)
    except (ValueError, RecursionError) as error:  # the latter of brackets in brackets
        reason = str(error)
        if isinstance(error, ValidationError):
            problem = error.errors()[0]
            reason = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        raise UserError(
            f"{file} is not a split file of this version ({printable(reason)}); {_REMEDY}"
        ) from None
    if split.sha256 != stated:
        raise UserError(f"{file} was changed after it was written: its hash does not fit; {_REMEDY}")
    return split


_REMEDY = (
    "give the file as a run wrote it, or take data.split.file out and have a new split made by "
    "data.split.test_share or data.split.folds"
)
