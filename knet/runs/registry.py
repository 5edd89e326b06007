"""The run registry: records of runs, the model in production, and the inputs of later runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knet.base.digests import folder_digest
from knet.base.errors import UserError
from knet.base.files import parse_json
from knet.base.storage import local_copy, open_store
from knet.runs.record import RunRecord


@dataclass(frozen=True)
class ProductionModel:
    """A pushed model."""

    version: str
    folder: Path
    candidate: str
    run_id: str


@dataclass(frozen=True)
class StoredPredictions:
    """Predictions of a pushed model."""

    file: Path  # Parquet, as knet.evaluation.predictions defines it; open it with `local_copy`
    digest: str  # SHA-256 of the file, hexadecimal
    version: str  # of the model


@dataclass(frozen=True)
class StoredStatistics:
    """Statistics of the data of a run, as StatisticsGen writes them."""

    folder: Path  # open it with `local_copy`
    digest: str  # SHA-256 of all paths and contents, hexadecimal
    run_id: str  # last run with these statistics
    schema: Path  # schema file that the data passed


@dataclass(frozen=True)
class StoredTrials:
    """Trials of a search."""

    file: Path  # CSV, as knet.tuning.trials defines it; open it with `local_copy`
    digest: str  # SHA-256 of the file, hexadecimal


@dataclass(frozen=True)
class PriorState:
    """Results of earlier runs that a run compares with or starts from, as far as its settings ask for them.

    Attributes:
        statistics: of the data of the last run, which DataGate compares with.
        trials: of the last search on each candidate, which the Tuner starts from.
        baseline: predictions of the model in production, which ModelGate compares with.
    """

    statistics: StoredStatistics | None = None
    trials: dict[str, StoredTrials] = field(default_factory=dict)
    baseline: StoredPredictions | None = None


class RunRegistry:
    """Files that runs leave for later runs, under one root.

    - `runs/<run id>.json`: the record of each run.
    - `pushed/<version>.json`: candidate, run and predictions of each pushed version.
    - `production.json`: the same of the model in production, which is the last one pushed or rolled back to.
    - `predictions/<digest>.parquet`: predictions of pushed models.
    - `spans.json`: fingerprints of the data sets seen so far, in order.
    - `statistics/<digest>/`, `statistics.json`: statistics of data, and those of the last successful run.
    - `trials/<digest>.csv`, `trials.json`: trials of searches, and their digests by candidate, in order.

    Files are written atomically, content before the file that refers to it by digest. So concurrent runs, on
    several machines too, corrupt nothing. If two runs end at the same moment, the push and statistics of the
    later one are recorded, and a new data set or search of one of them may be lost; it counts as new again.
    """

    def __init__(self, root: Path | str) -> None:
        """Open the registry below a folder or an object store's URI, such as `s3://bucket/folder`."""
        self._root = root
        self._store = open_store(root)

    def record(
        self,
        run: RunRecord,
        *,
        graph: str = "",
        predictions: Path | None = None,
        baseline: StoredPredictions | None = None,
    ) -> Path:
        """Record a run, and make the model that it pushed, if any, the one in production.

        Args:
            run: record of the run.
            graph: digest of all that determines the winner.
            predictions: Parquet file of the winner's predictions, which is copied.
            baseline: predictions that the gate compared the winner with.

        Returns:
            The file of the record.
        """
        name = f"runs/{run.run_id}.json"
        if run.pushed_version:
            production = {
                "version": run.pushed_version,
                "folder": run.pushed_folder,
                "candidate": run.winner,
                "run_id": run.run_id,
                "graph": graph,
                "predictions": predictions and self._store_predictions(predictions),
                "baseline": baseline and {"digest": baseline.digest, "version": baseline.version},
            }
            self._write_json(_pushed(run.pushed_version), production)
            self.make_production(run.pushed_version)
        self._store.write(name, run.to_json().encode())  # last: a run with a record has ended
        return self._store.location(name)

    def make_production(self, version: str) -> None:
        """Make a pushed version the model in production.

        Raises:
            UserError: no recorded run pushed the version.
        """
        self.require_pushed(version)
        self._write_json(_PRODUCTION, self._read_pushed(version))

    def require_pushed(self, version: str) -> None:
        """Raise a UserError unless a recorded run pushed the version."""
        if self.pushed(version) is None:
            raise UserError(f"no run in {self._root} pushed version {version}; knet runs lists the runs")

    def pushed(self, version: str) -> ProductionModel | None:
        """Return the model of a pushed version, or None."""
        return _production_model(self._read_pushed(version))

    def baseline(self, graph: str) -> StoredPredictions | None:
        """Return the predictions to compare a run's winner with: those of the model in production, if any.

        A run that repeats the one which pushed that model gets the baseline of that run. So it is answered
        from the cache, and its winner is not compared with itself.

        Args:
            graph: digest of all that determines the winner.
        """
        tree = self._production()
        if tree is None:
            return None
        if tree.get("graph") == graph:
            entry = tree.get("baseline")
        else:
            entry = tree.get("predictions") and {"digest": tree["predictions"], "version": tree["version"]}
        if not entry:
            return None
        remedy = "restore it, or set gate.margin=null to compare with no model"
        file = self._checked(_predictions(entry["digest"]), entry["digest"], remedy=remedy)
        return StoredPredictions(file=file, **entry)

    def runs(self) -> dict[str, Path]:
        """Return the files of all records by run id, oldest first."""
        files = [self._store.location(name) for name in self._store.names("runs/") if name.endswith(".json")]
        return {file.stem: file for file in files}

    def span(self, fingerprint: str) -> int:
        """Return the span of a data set: its number, from 1, among all recorded ones; record a new one."""
        seen: list[str] = self._read_json(_SPANS, [], "delete it: data sets are numbered from 1 again") or []
        if fingerprint not in seen:
            seen.append(fingerprint)
            self._write_json(_SPANS, seen)
        return seen.index(fingerprint) + 1

    def production(self) -> ProductionModel | None:
        """Return the model in production, or None before the first push."""
        return _production_model(self._production())

    def _production(self) -> Any:
        remedy = "write it again with knet models rollback --to VERSION"
        return self._read_json(_PRODUCTION, _PUSHED_FIELDS, remedy)

    def _read_pushed(self, version: str) -> Any:
        remedy = "restore it, or delete it: the version is then of unknown origin"
        return self._read_json(_pushed(version), _PUSHED_FIELDS, remedy)

    def _store_predictions(self, file: Path) -> str:
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        self._store.write(_predictions(digest), content)
        return digest

    def store_statistics(self, folder: Path, *, run_id: str, schema: Path) -> StoredStatistics:
        """Copy the statistics of a successful run, for drift detection by the next.

        Equal statistics are stored once, so that a run on the same data gets the same folder.
        """
        digest = folder_digest(folder)
        for file in (path for path in folder.rglob("*") if path.is_file()):
            name = file.relative_to(folder).as_posix()
            self._store.write(f"statistics/{digest}/{name}", file.read_bytes())
        self._write_json(_STATISTICS, {"digest": digest, "run_id": run_id, "schema": str(schema)})
        stored = self._store.location(f"statistics/{digest}")
        return StoredStatistics(folder=stored, digest=digest, run_id=run_id, schema=schema)

    def previous_statistics(self) -> StoredStatistics | None:
        """Return the statistics of the last successful run, or None before the first."""
        remedy = "delete it: the next run compares its statistics with none"
        tree = self._read_json(_STATISTICS, ("digest", "run_id", "schema"), remedy)
        if tree is None:
            return None
        folder = self._store.location(f"statistics/{tree['digest']}")
        with local_copy(folder) as copy:
            if folder_digest(copy) != tree["digest"]:
                raise UserError(f"{folder}: files are damaged or missing; delete {_STATISTICS}, {remedy}")
        return StoredStatistics(**{**tree, "folder": folder, "schema": Path(tree["schema"])})

    def store_trials(self, file: Path, *, candidate: str, search: str) -> None:
        """Copy the trials of a finished search, unless the same search is stored already.

        Args:
            file: CSV of the trials.
            candidate: name of the model that was searched on.
            search: digest of all that the search depends on except earlier searches.
        """
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        searches = self._searches()
        if any(entry["search"] == search for entry in searches.get(candidate, [])):
            return
        self._store.write(f"trials/{digest}.csv", content)
        searches.setdefault(candidate, []).append({"search": search, "digest": digest})
        self._write_json(_TRIALS, searches)

    def previous_trials(self, *, candidate: str, search: str) -> StoredTrials | None:
        """Return the trials of the search before this one, or None.

        For a stored search, it is the one that was the last when the search was made, so that a repeated
        search has the same input and is answered from the cache.
        """
        entries = self._searches().get(candidate, [])
        names = [entry["search"] for entry in entries]
        before = entries[: names.index(search)] if search in names else entries
        if not before:
            return None
        digest = before[-1]["digest"]
        remedy = "restore it, or set tuning.warm_start=false"
        return StoredTrials(file=self._checked(f"trials/{digest}.csv", digest, remedy=remedy), digest=digest)

    def _searches(self) -> dict[str, list[dict[str, str]]]:
        remedy = "delete it: the next search starts without the trials of earlier ones"
        return self._read_json(_TRIALS, (), remedy) or {}

    def _read_json(self, name: str, form: Sequence[str], remedy: str) -> Any:
        """Return the content of a file, or None if it does not exist.

        Args:
            name: of the file.
            form: names of the object's fields; `[]` for a list.
            remedy: end of the error message.

        Raises:
            UserError: the file is damaged.
        """
        content = self._store.read(name)
        if content is None:
            return None
        file = self._store.location(name)
        tree = parse_json(content, file, remedy=remedy)
        expected = list if isinstance(form, list) else dict
        if not isinstance(tree, expected) or not set(form) <= set(tree):
            raise UserError(f"{file}: damaged (it lacks what a run writes there); {remedy}")
        return tree

    def _checked(self, name: str, digest: str, *, remedy: str) -> Path:
        """Return the location of a file.

        Raises:
            UserError: the content of the file does not have the digest, or there is no such file.
        """
        content = self._store.read(name)
        if content is None or hashlib.sha256(content).hexdigest() != digest:
            state = "missing" if content is None else "damaged (its content has another SHA-256)"
            raise UserError(f"{self._store.location(name)}: {state}; {remedy}")
        return self._store.location(name)

    def _write_json(self, name: str, tree: Any) -> None:
        self._store.write(name, json.dumps(tree, indent=2).encode())


_PRODUCTION, _SPANS, _STATISTICS, _TRIALS = (
    f"{name}.json" for name in ("production", "spans", "statistics", "trials")
)
_PUSHED_FIELDS = ("version", "folder", "candidate", "run_id")


def _pushed(version: str) -> str:
    return f"pushed/{version}.json"


def _predictions(digest: str) -> str:
    return f"predictions/{digest}.parquet"


def _production_model(tree: Any) -> ProductionModel | None:
    if tree is None:
        return None
    return ProductionModel(
        version=tree["version"],
        folder=Path(tree["folder"]),
        candidate=tree["candidate"],
        run_id=tree["run_id"],
    )
