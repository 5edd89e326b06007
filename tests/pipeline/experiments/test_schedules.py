"""Schedules are what they say."""

from __future__ import annotations

import pytest

from pipeline.config import load_config
from pipeline.experiments.schedules import EARLY_STOPPING, SCALES


@pytest.mark.parametrize("name", SCALES)
def test_every_schedule_is_a_configuration(name: str) -> None:
    scale = SCALES[name]
    configs = {
        schedule.name: load_config(scale.preset, [*scale.overrides, *schedule.overrides])
        for schedule in scale.schedules()
    }
    assert len(configs) == len(scale.schedules())
    for epochs in scale.epochs:
        training = configs[f"{epochs}-epochs"].training
        assert training.epochs == training.early_stopping_patience == epochs
    stopping = configs[EARLY_STOPPING].training
    assert stopping.early_stopping_patience < stopping.epochs == max(scale.epochs)
    depths = [configs[one.name].training for one in scale.schedules() if one.deep]
    assert [(one.fine_tune, one.blocks) for one in depths] == [("blocks", 0), ("blocks", 2), ("all", None)]
    assert len({config.tuning is None for config in configs.values()}) == 1


def test_the_paper_s_numbers_of_epochs() -> None:
    assert SCALES["full"].epochs == (75, 100, 150, 200)
    assert SCALES["full"].preset == "paper"
