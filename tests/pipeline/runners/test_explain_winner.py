"""The same winner is explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.runners import explain_winner as module
from pipeline.runners.explain_winner import explain_winner


def test_it_is_explained_anew_where_model_or_count_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write(model: Path, examples: Path, folder: Path, *, count: int) -> None:
        written.append((model.name, count))
        folder.mkdir(parents=True)
        (folder / "explanations.json").write_text(f"{model.name} {count}", "utf-8")

    monkeypatch.setattr(module, "write_explanations", write)

    def explained(run: str, model: str, count: int) -> str:
        places: dict[str, Any] = {"folder": tmp_path / run, "kept": tmp_path / "kept"}
        explain_winner(tmp_path / model, tmp_path / "examples", count=count, **places)
        return (tmp_path / run / "explanations.json").read_text("utf-8")

    assert explained("one", "a", 3) == explained("two", "a", 3) == "a 3"
    assert explained("three", "b", 3) == "b 3" and explained("four", "b", 2) == "b 2"
    assert written == [("a", 3), ("b", 3), ("b", 2)]
