"""The answer to one file, and its row in a table."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from components.breakhis_example_gen.listing import printable
from serving.client.bad_image import BadImage
from serving.prediction import Prediction

COLUMNS: Final = (
    "image",
    "sha256",
    "label",
    "score",
    "threshold",
    "in_distribution",
    "reasons",
    "distance",
    "model_version",
    "probabilities",
    "error",
)


@dataclass(frozen=True)
class FileAnswer:
    """A file by `file_name`, the SHA-256 of what it held (empty: it could not be read), and what was said."""

    image: str
    sha256: str
    answer: Prediction | BadImage

    def as_row(self) -> dict[str, str]:
        """A text for each of `COLUMNS`: an answer, or an error."""
        row = dict.fromkeys(COLUMNS, "") | {"image": self.image, "sha256": self.sha256}
        if isinstance(self.answer, BadImage):
            return row | {"error": " ".join(self.answer.reason.split())}
        texts = asdict(self.answer) | {
            "in_distribution": str(self.answer.in_distribution).lower(),
            "reasons": "; ".join(self.answer.reasons),
            "probabilities": json.dumps(self.answer.probabilities),
        }
        return row | {name: "" if value is None else str(value) for name, value in texts.items()}

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> FileAnswer:
        """What `as_row` was made of; raises ValueError where it was made of nothing."""
        return cls(row["image"], row["sha256"], _answer(row))

    def as_json(self) -> dict[str, Any]:
        """The fields of a prediction, or `error`, below `image` and `sha256`."""
        said = {"error": self.answer.reason} if isinstance(self.answer, BadImage) else asdict(self.answer)
        return {"image": self.image, "sha256": self.sha256, **said}


def file_name(file: Path) -> str:
    """Its path as it was given; what a terminal or a line of a table cannot show is escaped."""
    return printable(os.fspath(file))


def _answer(row: Mapping[str, str]) -> Prediction | BadImage:
    if row["error"]:
        return BadImage(row["error"])
    return Prediction(
        label=row["label"],
        score=float(row["score"]),
        probabilities=json.loads(row["probabilities"]),
        model_version=int(row["model_version"]),
        in_distribution={"true": True, "false": False}[row["in_distribution"]],
        reasons=tuple(filter(None, row["reasons"].split("; "))),
        distance=float(row["distance"]),
        threshold=float(row["threshold"]) if row["threshold"] else None,
    )
