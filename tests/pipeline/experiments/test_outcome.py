"""An outcome is read back as it was written."""

from __future__ import annotations

from pathlib import Path

from pipeline.experiments.outcome import Outcome, read_outcome


def test_an_outcome_is_read_back_as_it_was(tmp_path: Path) -> None:
    outcome = Outcome(
        chosen={"learning_rate": 0.1, "best_epoch": 3},
        trials=({"learning_rate": 0.1, "val_loss": 0.7}, {"learning_rate": 1.0, "val_loss": float("inf")}),
        scores=(0.1, 0.30000000000000004),
        seconds=1.5,
        device="1 x CPU",
    )
    file = tmp_path / "outcomes" / "one.json"
    outcome.write(file)
    assert read_outcome(file) == outcome
    assert [path.name for path in file.parent.iterdir()] == [file.name]
