"""All that a page is made of, read from the folder of a run."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup
from PIL import Image

from knet.base import artifact_files, run_files
from knet.base.settings import with_current_names
from knet.evaluation.predictions import read_predictions
from knet.runs.record import RunRecord

_LONGEST = 320  # pixels of a heat map's side


@dataclass(frozen=True)
class Search:
    """What a search for hyperparameters left."""

    summary: dict[str, Any]
    trials: list[dict[str, str]]  # a row each, by column; numbers with four digits
    plots: tuple[Markup, ...]

    @property
    def columns(self) -> list[str]:
        """The names of the table's columns."""
        return list(self.trials[0]) if self.trials else []


@dataclass(frozen=True)
class Inputs:
    """A run's record, and what was collected beside it as far as the run came."""

    record: RunRecord
    data_page: str | None  # its file's name, where there is one
    findings: dict[str, Any] | None  # `findings` and `drift`
    searches: list[Search]
    histories: dict[str, dict[str, Any]]  # by candidate
    results: dict[str, Any] | None  # as `candidate_results` has them
    decision: dict[str, Any] | None
    predictions: Mapping[str, Any]  # data frames, by candidate
    thumbnails: dict[str, str]  # addresses of pictures by image
    explanations: dict[str, Any] | None
    lineage: list[dict[str, Any]]  # a row an artifact

    @property
    def compared(self) -> list[str]:
        """The candidates that have figures, in the configuration's order."""
        return [
            name for name in self.record.candidates if self.results and name in self.results["candidates"]
        ]

    def slices(self, candidate: str | None, split: str) -> list[dict[str, Any]]:
        """A candidate's figures on a split and on its parts; nothing where it was not evaluated."""
        if self.results is None or candidate not in self.results["candidates"]:
            return []
        found: list[dict[str, Any]] = self.results["candidates"][candidate]["splits"][split]
        return found

    def metrics(self, candidate: str | None, split: str) -> dict[str, dict[str, float | None]]:
        """Value, low and high of each metric of a candidate on a whole split."""
        for part in self.slices(candidate, split):
            if not part["slice"]:
                return dict(part["metrics"])
        return {}


def read_inputs(record: RunRecord, folder: Path) -> Inputs:
    """Reads what there is."""
    histories = {name: _read(folder / run_files.TRAINING / f"{name}.json") for name in record.candidates}
    tables = {name: folder / run_files.PREDICTIONS / f"{name}.parquet" for name in record.candidates}
    return Inputs(
        record=record,
        data_page=run_files.DATA_PAGE if (folder / run_files.DATA_PAGE).is_file() else None,
        findings=_read(folder / run_files.FINDINGS),
        searches=[
            _search(file.parent) for file in sorted((folder / run_files.TUNING).glob("*/summary.json"))
        ],
        histories={name: history for name, history in histories.items() if history},
        results=_read(folder / run_files.RESULTS),
        decision=_decision(folder / run_files.DECISION),
        predictions={name: read_predictions(file) for name, file in tables.items() if file.is_file()},
        thumbnails=_thumbnails(folder / run_files.THUMBNAILS),
        explanations=_explanations(folder / run_files.EXPLANATIONS),
        lineage=_read(folder / run_files.LINEAGE) or [],
    )


def _decision(file: Path) -> dict[str, Any] | None:
    """Read the decision of ModelSelector, of earlier versions too, with the current names of the settings."""
    decision: dict[str, Any] | None = _read(file)
    if decision is None:
        return None
    return with_current_names({"selection": decision})["selection"]


def _search(folder: Path) -> Search:
    with (folder / artifact_files.TRIALS).open(encoding="utf-8", newline="") as file:
        trials = [{name: _short(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    plots = tuple(Markup(plot.read_text(encoding="utf-8")) for plot in sorted(folder.glob("*.svg")))
    return Search(_read(folder / artifact_files.SEARCH_SUMMARY), trials, plots)


def _short(cell: str) -> str:
    try:
        return f"{float(cell):.4g}"
    except ValueError:
        return cell


def _thumbnails(folder: Path) -> dict[str, str]:
    files = _read(folder / run_files.INDEX) or {}
    return {image: data_url((folder / name).read_bytes()) for image, name in files.items()}


def _explanations(folder: Path) -> dict[str, Any] | None:
    explained: dict[str, Any] | None = _read(folder / run_files.EXPLANATIONS_FILE)
    if explained:
        for image in explained["images"]:
            for kind in ("image", "overlay"):
                image[f"{kind}_url"] = picture(folder / image[kind], longest=_LONGEST)
    return explained


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


# Accuracies on test images, which the paper splits by image and not by patient. VGG16 stands in a figure
# without a number, ResNet50 is named without a result.
ACCURACY: Final = {"mobilenet": 0.74, "resnet101": 0.90, "resnet152": 0.92}
CITATION: Final = "Dsouza & Ansari, Applied Computer Science 18(1), 2022"

# The year in which each backbone was published.
YEAR: Final = {
    "vgg16": 2014,
    "resnet50": 2015,
    "resnet101": 2015,
    "resnet152": 2015,
    "mobilenet": 2017,
    "efficientnetv2b0": 2021,
}


def thumbnail(encoded: bytes, *, longest: int) -> bytes:
    """An image file as a JPEG with at most `longest` pixels a side."""
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    image.thumbnail((longest, longest))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


def data_url(jpeg: bytes) -> str:
    """A JPEG as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def picture(file: Path, *, longest: int) -> str:
    """An image file made small, as an address that holds it."""
    return data_url(thumbnail(file.read_bytes(), longest=longest))


@dataclass(frozen=True)
class Section:
    """What `templates/<name>.html` shows under a title; or, where that is nothing, the reason.

    A reader who expects a section finds it, empty or not.
    """

    name: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True)
class Verdict:
    """In a word, and in a line."""

    word: str  # pushed, refused or failed
    why: str


def verdict(record: RunRecord) -> Verdict:
    """Whether the winner is served, was refused, or the run failed, and why."""
    if record.error:
        return Verdict("failed", record.error)
    if record.pushed_version and not record.refusals:
        return Verdict(
            "pushed",
            f"{record.winner} is served as version {record.pushed_version}: {record.choice}",
        )
    reasons = (
        "; ".join(record.refusals) or "the server that was asked before the push did not answer as it must"
    )
    return Verdict("refused", f"{record.winner} was not pushed: {reasons}")
