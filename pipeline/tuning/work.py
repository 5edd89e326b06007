"""What a process of a search runs: python -m pipeline.tuning.work FOLDER.

KerasTuner's variables say whether it is the chief, which hands out the trials, or a worker: see
`TrialTuner`. FOLDER is that of a search, or one with searches below: then the newest is taken that has not
ended, and waited for until there is one.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from pipeline.tuning.search_plan import PLAN, SearchPlan
from pipeline.tuning.trial_tuner import TrialTuner

ENDED = "ended"  # a file in the folder of a search, which the chief leaves
_POLL = 1.0  # seconds


def work(root: Path) -> None:
    """Takes part in the search, until no trial is left."""
    while (folder := open_search(root)) is None:
        time.sleep(_POLL)
    TrialTuner(SearchPlan.read(folder), folder).search()
    if "chief" in os.environ["KERASTUNER_TUNER_ID"]:
        (folder / ENDED).touch()


def open_search(root: Path) -> Path | None:
    """The folder of the newest search that has not ended, or None."""
    plans = [plan for plan in root.rglob(PLAN) if not plan.with_name(ENDED).exists()]
    return max(plans, key=lambda plan: plan.stat().st_mtime).parent if plans else None


if __name__ == "__main__":
    work(Path(sys.argv[1]))
