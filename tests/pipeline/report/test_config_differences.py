"""Where two configurations differ."""

from __future__ import annotations

from pipeline.config import load_config
from pipeline.report.config_differences import config_differences


def test_only_fields_that_differ_are_named_by_their_paths() -> None:
    first, second = (load_config("demo", [f"seed={seed}"]).model_dump(mode="json") for seed in (1, 2))
    assert config_differences(first, second) == {"seed": ("1", "2")}


def test_a_section_that_one_lacks_is_listed_field_by_field() -> None:
    first = {"tuning": None, "a": 1}
    second = {"tuning": {"trials": 3, "momentum": {"low": 0.5}}, "a": 1}
    assert config_differences(first, second) == {
        "tuning": ("None", "–"),
        "tuning.trials": ("–", "3"),
        "tuning.momentum.low": ("–", "0.5"),
    }


def test_equal_configurations_have_no_differences() -> None:
    tree = load_config("paper").model_dump(mode="json")
    assert config_differences(tree, tree) == {}
