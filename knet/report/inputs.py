"""Inputs of the report page, read from the folder of a run."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup
from PIL import Image

from knet.base import artifact_files, run_files
from knet.base.files import read_json
from knet.base.settings import with_current_names
from knet.evaluation.predictions import read_predictions
from knet.runs.record import FAILED, INTERRUPTED, RUNNING, RunRecord

_MAX_SIDE: Final = 320  # pixels of a heat map


@dataclass(frozen=True)
class Search:
    """Results of a hyperparameter search."""

    summary: dict[str, Any]
    trials: list[dict[str, str]]  # a row per trial, by column; numbers with four digits
    plots: tuple[Markup, ...]

    @property
    def columns(self) -> list[str]:
        """Columns of the table of trials."""
        return list(self.trials[0]) if self.trials else []


@dataclass(frozen=True)
class Inputs:
    """The record of a run and the files beside it; a failed run lacks some."""

    record: RunRecord
    data_page: str | None  # file name
    validation: dict[str, Any] | None  # report of DataGate: `anomalies` and `drift`
    searches: list[Search]
    histories: dict[str, dict[str, Any]]  # by candidate
    results: dict[str, Any] | None  # metrics of all candidates, by `candidate_results`
    decision: dict[str, Any] | None
    predictions: Mapping[str, Any]  # data frames, by candidate
    thumbnails: dict[str, str]  # data URLs by image path
    explanations: dict[str, Any] | None
    lineage: list[dict[str, Any]]  # a row per artifact

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the labels."""
        return list(self.record.config["data"]["classes"])

    @property
    def group(self) -> list[str]:
        """Names of the positive group of more than two classes; empty if there is none."""
        return list(self.record.config["data"].get("positive") or ())

    @property
    def positive(self) -> str | None:
        """Title of what a decision threshold is of: the second of two classes, or the positive group."""
        if len(self.classes) == 2:
            return self.classes[1]
        return "the positive group" if self.group else None

    @property
    def compared(self) -> list[str]:
        """Candidates with results, in the order of the configuration."""
        return [
            name for name in self.record.candidates if self.results and name in self.results["candidates"]
        ]

    def slices(self, candidate: str | None, split: str) -> list[dict[str, Any]]:
        """Return a candidate's results on the slices of a split; none if it was not evaluated."""
        if self.results is None or candidate not in self.results["candidates"]:
            return []
        found: list[dict[str, Any]] = self.results["candidates"][candidate]["splits"][split]
        return found

    def metrics(self, candidate: str | None, split: str) -> dict[str, dict[str, float | None]]:
        """Return value, low and high of each metric of a candidate on a whole split."""
        for part in self.slices(candidate, split):
            if not part["slice"]:
                return dict(part["metrics"])
        return {}


def read_inputs(record: RunRecord, folder: Path) -> Inputs:
    """Read the inputs from the folder of a run; missing files are None or empty."""
    histories = {name: _read(folder / run_files.TRAINING / f"{name}.json") for name in record.candidates}
    tables = {name: folder / run_files.PREDICTIONS / f"{name}.parquet" for name in record.candidates}
    return Inputs(
        record=record,
        data_page=run_files.DATA_PAGE if (folder / run_files.DATA_PAGE).is_file() else None,
        validation=_validation(folder / run_files.VALIDATION),
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


def _validation(file: Path) -> dict[str, Any] | None:
    """Read DataGate's validation report; earlier versions called the anomalies `findings`."""
    report: dict[str, Any] | None = _read(file)
    if report and "findings" in report:
        report["anomalies"] = report.pop("findings")
    return report


def _decision(file: Path) -> dict[str, Any] | None:
    """Read the decision of ModelSelector, of earlier versions too, with the current names of the settings."""
    decision: dict[str, Any] | None = _read(file)
    if decision is None:
        return None
    return with_current_names({"selection": decision})["selection"]


def _search(folder: Path) -> Search:
    with (folder / artifact_files.TRIALS).open(encoding="utf-8", newline="") as file:
        trials = [{name: _short_number(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    plots = tuple(Markup(plot.read_text(encoding="utf-8")) for plot in sorted(folder.glob("*.svg")))
    return Search(_read(folder / artifact_files.SEARCH_SUMMARY), trials, plots)


def _short_number(cell: str) -> str:
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
                image[f"{kind}_url"] = image_url(folder / image[kind], max_side=_MAX_SIDE)
    return explained


def _read(file: Path) -> Any:
    return read_json(file, remedy="restore it, or delete it: the report is then written without it")


def thumbnail(encoded: bytes, *, max_side: int) -> bytes:
    """Return an encoded image as a JPEG with at most `max_side` pixels per side."""
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    image.thumbnail((max_side, max_side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


def data_url(jpeg: bytes) -> str:
    """Return a JPEG as a data URL."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def image_url(file: Path, *, max_side: int) -> str:
    """Return a thumbnail of an image file as a data URL."""
    return data_url(thumbnail(file.read_bytes(), max_side=max_side))


@dataclass(frozen=True)
class Section:
    """A section of the page: values for `templates/<name>.html`, or the reason why there are none."""

    name: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""  # reason; shown in place of the template


@dataclass(frozen=True)
class Verdict:
    """Outcome of a run."""

    kind: str  # pushed, not pushed, failed, interrupted or running
    why: str  # one line
    with_failures: bool = False  # whether the run went without a candidate

    @property
    def word(self) -> str:
        """Kind, with the remark on failures."""
        return f"{self.kind} with failures" if self.with_failures else self.kind


def verdict(record: RunRecord) -> Verdict:
    """Return the outcome of a run, with the reason."""
    if record.state in (INTERRUPTED, RUNNING):
        return Verdict(record.state, record.error or "it has not ended")
    without = f"; without {', '.join(record.failures)}, which failed" if record.failures else ""
    if record.error:
        return Verdict(FAILED, record.error)
    if record.pushed_version and not record.refusals:
        return Verdict(
            "pushed",
            f"{record.winner} is served as version {record.pushed_version}: {record.choice}{without}",
            with_failures=bool(record.failures),
        )
    reasons = "; ".join(record.refusals) or "it failed infra validation: see ServingValidator in the log"
    return Verdict("not pushed", f"{record.winner}: {reasons}{without}", with_failures=bool(record.failures))
