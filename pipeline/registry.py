"""The run registry: what must be remembered between runs, as plain files under one root."""

from __future__ import annotations

import json
import os
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


class RunRegistry:
    """Run records in `runs/<run id>.json`; the one that pushed last is named in `production.json`.
    `spans.json` lists the fingerprints of the data seen so far.

    Files are written whole or not at all.
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


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
