"""Search plans with a fake objective."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from training_fixtures import tiny_mobilenet, write_transformed

from knet.tuning.plan import SearchPlan, Values
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config


@pytest.fixture(scope="session", autouse=True)
def importable() -> Iterator[None]:
    """Put tests/support and our packages on the import path of this process and its subprocesses."""
    support = Path(__file__).parents[2] / "support"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(support)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(support), str(support.parents[1])]))
        yield


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., SearchPlan]:
    """Return a function that plans a search of the preset demo, with overrides; it uses `distance`."""

    def make(*overrides: str, warm_start: tuple[Values, ...] = (), **arguments: Any) -> SearchPlan:
        config = load_config("demo", overrides)
        assert config.tuning is not None
        candidate = candidate_from_config(config, "mobilenet", synthetic_data=True)
        return SearchPlan(
            candidate=candidate,
            tuning=config.tuning.for_optimizer(candidate.training.optimizer),
            warm_start=warm_start,
            evaluation="fake_objective:distance",
            arguments=arguments,
        )

    return make
