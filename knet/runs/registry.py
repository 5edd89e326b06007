"""The run registry: what must be remembered between runs, as plain files under one root."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knet.base.digests import folder_digest
from knet.base.errors import UserError
from knet.base.storage import open_store
from knet.runs.record import RunRecord


@dataclass(frozen=True)
class ProductionModel:
    """A model that was pushed."""

    version: str
    folder: Path
    candidate: str
    run_id: str


@dataclass(frozen=True)
class StoredPredictions:
    """What a model that was pushed said of each image."""

    file: Path  # Parquet, written by `knet.evaluation.predictions`; read it through `local_copy`
    digest: str  # SHA-256 of its content, in hexadecimal
    version: str  # of the model


@dataclass(frozen=True)
class StoredStatistics:
    """The statistics of the data of a run, by split as StatisticsGen writes them."""

    folder: Path
    digest: str  # SHA-256 of all paths and contents, in hexadecimal
    run_id: str  # the last run whose statistics these were
    schema: Path  # the file of the schema that they passed, wherever it is


@dataclass(frozen=True)
class StoredTrials:
    """The trials of a search."""

    file: Path  # a table, as pipeline.tuning.trials_table makes it
    digest: str  # SHA-256 of it, in hexadecimal


@dataclass(frozen=True)
class PriorState:
    """Results of earlier runs that a run compares with or starts from, as far as its settings ask for them.

    Attributes:
        statistics: of the data of the last run, which DataGate compares with.
        trials: of the last search on each backbone, which the Tuner starts from.
        baseline: predictions of the model in production, which ModelGate compares with.
    """

    statistics: StoredStatistics | None = None
    trials: dict[str, StoredTrials] = field(default_factory=dict)
    baseline: StoredPredictions | None = None


class RunRegistry:
    """What runs leave for later ones.

    Run records are in `runs/<run id>.json`. What each version is that was pushed stands in
    `pushed/<version>.json`, and of the model in production in `production.json`: the one that was pushed
    last, unless it was rolled back. The predictions of models that were pushed are in
    `predictions/<digest>.parquet`.
    `spans.json` lists the fingerprints of the data seen so far. Statistics of data are in
    `statistics/<digest>`; `statistics.json` names those of the last successful run. Trials of searches are
    in `trials/<digest>.csv`; `trials.json` names those of each backbone, in the order of the searches.

    Files are written whole or not at all, what is named by its digest before what names it. So runs at the
    same time, on several machines too, corrupt nothing; where two of them end at the same moment, the later
    one's push and statistics are remembered, and one of their new data sets or searches may be forgotten: it
    is new again the next time.
    """

    def __init__(self, root: Path | str) -> None:
        """Opens, or will make, the registry in a folder or, such as `s3://bucket/folder`, an object store."""
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
        """Keeps a run, and makes the model it pushed, if any, the production model; returns its file.

        Args:
            run: the run.
            graph: digest of all that decided which model it was.
            predictions: of that model, a Parquet file, which is copied.
            baseline: what it was compared with.
        """
        name = f"runs/{run.run_id}.json"
        self._store.write(name, run.to_json().encode())
        if run.pushed_version:
            production = {
                "version": run.pushed_version,
                "folder": run.pushed_folder,
                "candidate": run.winner,
                "run_id": run.run_id,
                "graph": graph,
                "predictions": predictions and self._keep_predictions(predictions),
                "baseline": baseline and {"digest": baseline.digest, "version": baseline.version},
            }
            self._write_json(_pushed(run.pushed_version), production)
            self.make_production(run.pushed_version)
        return self._store.location(name)

    def make_production(self, version: str) -> None:
        """Makes a version that was pushed here the production model.

        Raises:
            UserError: it was not.
        """
        self.require_pushed(version)
        self._write_json("production.json", self._read_json(_pushed(version)))

    def require_pushed(self, version: str) -> None:
        """Raises UserError unless a version was pushed here."""
        if self.pushed(version) is None:
            raise UserError(f"no run in {self._root} pushed version {version}")

    def pushed(self, version: str) -> ProductionModel | None:
        """The model that was pushed here as a version, or None."""
        return _production_model(self._read_json(_pushed(version)))

    def baseline(self, graph: str) -> StoredPredictions | None:
        """What a run's winner is to be compared with: the model in production, if there is one.

        A run that repeats the one which pushed that model is given what that one was given, so that it is
        answered from the cache, and its winner not compared with itself.

        Args:
            graph: digest of all that decides which model will win.
        """
        tree = self._production()
        if tree is None:
            return None
        if tree.get("graph") == graph:
            kept = tree["baseline"]
        else:
            kept = tree.get("predictions") and {"digest": tree["predictions"], "version": tree["version"]}
        return kept and StoredPredictions(file=self._store.location(_predictions(kept["digest"])), **kept)

    def runs(self) -> dict[str, Path]:
        """The files of all records by run id, oldest first."""
        files = [self._store.location(name) for name in self._store.names("runs/") if name.endswith(".json")]
        return {file.stem: file for file in files}

    def span(self, fingerprint: str) -> int:
        """The number, from 1, of some data among all that were seen here; notes new ones."""
        seen: list[str] = self._read_json("spans.json") or []
        if fingerprint not in seen:
            seen.append(fingerprint)
            self._write_json("spans.json", seen)
        return seen.index(fingerprint) + 1

    def production(self) -> ProductionModel | None:
        """The model in production, or None before the first push."""
        return _production_model(self._production())

    def _production(self) -> Any:
        return self._read_json("production.json")

    def _keep_predictions(self, file: Path) -> str:
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        self._store.write(_predictions(digest), content)
        return digest

    def keep_statistics(self, folder: Path, *, run_id: str, schema: Path) -> StoredStatistics:
        """Copies the statistics of a successful run; the next run may be compared with them.

        Equal statistics are kept once, so that a run on the same data finds the same folder.
        """
        digest = folder_digest(folder)
        for file in (path for path in folder.rglob("*") if path.is_file()):
            name = file.relative_to(folder).as_posix()
            self._store.write(f"statistics/{digest}/{name}", file.read_bytes())
        self._write_json("statistics.json", {"digest": digest, "run_id": run_id, "schema": str(schema)})
        kept = self._store.location(f"statistics/{digest}")
        return StoredStatistics(folder=kept, digest=digest, run_id=run_id, schema=schema)

    def previous_statistics(self) -> StoredStatistics | None:
        """Those of the last successful run, or None before the first."""
        tree = self._read_json("statistics.json")
        if tree is None:
            return None
        folder = self._store.location(f"statistics/{tree['digest']}")
        return StoredStatistics(**{**tree, "folder": folder, "schema": Path(tree["schema"])})

    def keep_trials(self, file: Path, *, backbone: str, search: str) -> None:
        """Copies the table of a search that ended, unless the same search was kept before.

        Args:
            file: the table.
            backbone: that was searched with.
            search: a digest of all that it depends on, but earlier searches.
        """
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        kept = self._searches()
        if any(entry["search"] == search for entry in kept.get(backbone, [])):
            return
        self._store.write(f"trials/{digest}.csv", content)
        kept.setdefault(backbone, []).append({"search": search, "digest": digest})
        self._write_json("trials.json", kept)

    def trials_before(self, *, backbone: str, search: str) -> StoredTrials | None:
        """Those of the search before this one, or None.

        For a search that was kept it is the one that was the last when it was made: asked again, it is the
        same search, which the cache answers.
        """
        entries = self._searches().get(backbone, [])
        names = [entry["search"] for entry in entries]
        before = entries[: names.index(search)] if search in names else entries
        if not before:
            return None
        digest = before[-1]["digest"]
        return StoredTrials(file=self._store.location(f"trials/{digest}.csv"), digest=digest)

    def _searches(self) -> dict[str, list[dict[str, str]]]:
        return self._read_json("trials.json") or {}

    def _read_json(self, name: str) -> Any:
        """The content of a file, or None where there is none."""
        content = self._store.read(name)
        return None if content is None else json.loads(content)

    def _write_json(self, name: str, tree: Any) -> None:
        self._store.write(name, json.dumps(tree, indent=2).encode())


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
