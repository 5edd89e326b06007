"""Plans of searches over objectives that cost nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from training_fixtures import body_weights, tiny, tiny_hybrid, write_transformed

from knet.tuning.plan import SearchPlan
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config


@pytest.fixture(scope="session", autouse=True)
def importable() -> Iterator[None]:
    """Lets this process, and those that it starts, import what stands here, and our packages."""
    here = Path(__file__).parents[2] / "support"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(here)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parents[1])]))
        yield


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., SearchPlan]:
    """Makes a plan of the preset demo, with settings changed; its objective is `distance`."""

    def make(*overrides: str, warm: tuple[dict[str, Any], ...] = (), **arguments: Any) -> SearchPlan:
        config = load_config("demo", overrides)
        assert config.tuning is not None
        return SearchPlan(
            candidate=candidate_from_config(config, "mobilenet", synthetic_data=True),
            tuning=config.tuning,
            warm=warm,
            evaluation="fake_objective:distance",
            arguments=arguments,
        )

    return make
