"""What a search takes from the one before it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.candidate import Candidate
from pipeline.config import TuningConfig
from pipeline.tuning.objective import DIRECTIONS
from pipeline.tuning.search_space import Values, paper_values, search_space
from pipeline.tuning.trials_table import COMPLETED


def warm_values(previous: Path, tuning: TuningConfig, candidate: Candidate) -> tuple[Values, ...]:
    """The best values of an earlier search that this one's space holds, best first, `warm_start` at most.

    They are tried again, since scores on other images or with another model say nothing here.

    Args:
        previous: its table, as `trials_table` makes it; what this search does not look for is passed over.
        tuning: the search.
        candidate: it is made on.
    """
    trials = pd.read_csv(previous, float_precision="round_trip")
    objective = next((name for name in DIRECTIONS if name in trials), None)
    names = [*tuning.ranges, *tuning.choices]
    if objective is None or not set(names) <= set(trials):
        return ()
    trials = trials[trials["state"] == COMPLETED]
    ordered = trials.sort_values(objective, ascending=DIRECTIONS[objective] == "min", kind="stable")
    given = [paper_values(tuning, candidate)]
    for row in ordered[names].to_dict("records"):
        values = {name: int(value) if name in _WHOLE else float(value) for name, value in row.items()}
        if _inside(values, tuning, candidate) and values not in given:
            given.append(values)
    return tuple(given[1 : 1 + tuning.warm_start])


_WHOLE = ("lstm_units", "dense_units", "blocks")


def _inside(values: Values, tuning: TuningConfig, candidate: Candidate) -> bool:
    choices = {
        hp.name: hp.values for hp in search_space(tuning, candidate).space if hp.name in tuning.choices
    }
    return all(limits.low <= values[name] <= limits.high for name, limits in tuning.ranges.items()) and all(
        values[name] in allowed for name, allowed in choices.items()
    )
