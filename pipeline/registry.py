"""The run registry: what must be remembered between runs, as plain files under one root."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.run_record import RunRecord


@dataclass(frozen=True)
class ProductionModel:
    """The model that was pushed last."""

    version: str
    folder: Path
    candidate: str
    run_id: str


@dataclass(frozen=True)
class KeptStatistics:
    """The statistics of the data of a run, by split as StatisticsGen writes them."""

    folder: Path
    digest: str  # SHA-256 of all paths and contents, in hexadecimal
    run_id: str  # the last run whose statistics these were
    schema: Path  # the file of the schema that they passed, wherever it is


class RunRegistry:
    """What runs leave for later ones.

    Run records are in `runs/<run id>.json`; the one that pushed last is named in `production.json`.
    `spans.json` lists the fingerprints of the data seen so far. Statistics of data are in
    `statistics/<digest>`; `statistics.json` names those of the last successful run.
    Files and folders are written whole or not at all.
    """

    def __init__(self, root: Path) -> None:
        """Opens, or will make, the registry in a folder."""
        self._root = root

    def record(self, run: RunRecord) -> Path:
        """Keeps a run, and makes the model it pushed, if any, the production model; returns its file."""
        path = self._root / "runs" / f"{run.run_id}.json"
        _write_whole(path, run.to_json())
        if run.pushed_version:
            production = {
                "version": run.pushed_version,
                "folder": run.pushed_folder,
                "candidate": run.winner,
                "run_id": run.run_id,
            }
            _write_whole(self._root / "production.json", json.dumps(production, indent=2))
        return path

    def span(self, fingerprint: str) -> int:
        """The number, from 1, of some data among all that were seen here; notes new ones."""
        path = self._root / "spans.json"
        try:
            seen = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            seen = []
        if fingerprint not in seen:
            seen.append(fingerprint)
            _write_whole(path, json.dumps(seen, indent=2))
        return seen.index(fingerprint) + 1

    def production(self) -> ProductionModel | None:
        """The model pushed last, or None before the first push."""
        try:
            tree = json.loads((self._root / "production.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return ProductionModel(**{**tree, "folder": Path(tree["folder"])})

    def keep_statistics(self, folder: Path, *, run_id: str, schema: Path) -> KeptStatistics:
        """Copies the statistics of a successful run; the next run may be compared with them.

        Equal statistics are kept once, so that a run on the same data finds the same folder.
        """
        digest = _folder_digest(folder)
        kept = self._root / "statistics" / digest
        if not kept.is_dir():
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_name(f".{digest}.{os.getpid()}")
            shutil.rmtree(part, ignore_errors=True)  # what a killed run left
            shutil.copytree(folder, part)
            part.replace(kept)
        last = {"digest": digest, "run_id": run_id, "schema": str(schema)}
        _write_whole(self._root / "statistics.json", json.dumps(last, indent=2))
        return KeptStatistics(folder=kept, digest=digest, run_id=run_id, schema=schema)

    def previous_statistics(self) -> KeptStatistics | None:
        """Those of the last successful run, or None before the first."""
        try:
            tree = json.loads((self._root / "statistics.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        folder = self._root / "statistics" / tree["digest"]
        return KeptStatistics(**{**tree, "folder": folder, "schema": Path(tree["schema"])})


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
