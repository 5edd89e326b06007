"""All that a page is made of, read from the folder of a run."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from pipeline.evaluation.predictions import read_predictions
from pipeline.report import run_files
from pipeline.report.picture import data_url, picture
from pipeline.run_record import RunRecord

EVALUATED: Final = ("validation", "test")  # splits
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
        decision=_read(folder / run_files.DECISION),
        predictions={name: read_predictions(file) for name, file in tables.items() if file.is_file()},
        thumbnails=_thumbnails(folder / run_files.THUMBNAILS),
        explanations=_explanations(folder / run_files.EXPLANATIONS),
        lineage=_read(folder / run_files.LINEAGE) or [],
    )


def _search(folder: Path) -> Search:
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        trials = [{name: _short(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    plots = tuple(Markup(plot.read_text(encoding="utf-8")) for plot in sorted(folder.glob("*.svg")))
    return Search(_read(folder / "summary.json"), trials, plots)


def _short(cell: str) -> str:
    try:
        return f"{float(cell):.4g}"
    except ValueError:
        return cell


def _thumbnails(folder: Path) -> dict[str, str]:
    files = _read(folder / run_files.INDEX) or {}
    return {image: data_url((folder / name).read_bytes()) for image, name in files.items()}


def _explanations(folder: Path) -> dict[str, Any] | None:
    explained: dict[str, Any] | None = _read(folder / "explanations.json")
    if explained:
        for image in explained["images"]:
            for kind in ("image", "overlay"):
                image[f"{kind}_url"] = picture(folder / image[kind], longest=_LONGEST)
    return explained


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
