"""Values of a run are put into compiled JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.runners.kubeflow.run_values import with_run_values


def test_a_name_with_dots_leads_into_json_within_json() -> None:
    candidate = json.dumps({"seed": 0, "training": {"epochs": 200, "momentum": 0.9}})
    properties: dict[str, Any] = {
        "custom_config": json.dumps({"candidate": candidate, "cache_root": "/cache"}),
        "custom_config.candidate.seed": 7,
        "custom_config.candidate.training.epochs": 3,
        "run_fn": "pipeline.training.run_fn",
    }
    values = with_run_values(properties)
    assert set(values) == {"custom_config", "run_fn"}
    settings = json.loads(values["custom_config"])
    assert settings["cache_root"] == "/cache"
    assert json.loads(settings["candidate"]) == {"seed": 7, "training": {"epochs": 3, "momentum": 0.9}}
    assert "custom_config.candidate.seed" in properties


@pytest.mark.parametrize("name", ["none.seed", "candidate.none", "candidate.none.seed"])
def test_a_name_that_leads_to_nothing_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"the parameter {name} leads to nothing"):
        with_run_values({"candidate": '{"seed": 0}', name: 1})
