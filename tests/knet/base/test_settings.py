"""Former names of settings: refused in configurations, translated in stored records."""

from __future__ import annotations

from pathlib import Path

import pytest

from knet.base.errors import UserError
from knet.base.settings import RENAMED, with_current_names
from pipeline.config.explain import settings_sections
from pipeline.config.load import load_config

PATHS = {setting.path for section in settings_sections() for setting in section.settings}


@pytest.mark.parametrize("old", RENAMED)
def test_new_name_exists_and_old_name_does_not(old: str) -> None:
    assert RENAMED[old] in PATHS
    assert old not in PATHS
    assert RENAMED[old].rpartition(".")[0] == old.rpartition(".")[0]


@pytest.mark.parametrize("old", RENAMED)
def test_override_of_old_name_is_refused_with_new_one(old: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config("demo", [f"{old}=1"])
    (line,) = str(caught.value).split("\n")[1:]
    assert line.startswith(f"  {old}: renamed to {RENAMED[old]}")


def test_file_with_old_names_is_refused_with_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("data: {max_bad_share: 0.1}\ngate: {insufficient: refuse}\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_config(file)
    assert str(caught.value).split("\n") == [
        f"configuration {file}:",
        "  data.max_bad_share: renamed to data.max_invalid_fraction",
        "  gate.insufficient: renamed to gate.on_insufficient_data, and refuse is now fail",
    ]


def test_with_current_names_moves_values_and_keeps_the_rest() -> None:
    stored = {
        "seed": 3,
        "data": {"max_bad_share": 0.1, "classes": ["a", "b"]},
        "training": {"random_augmentation": {"turn": True, "stain": 0.0}},
        "tuning": {"scope": "backbone", "backbone": "vgg16"},
        "gate": {"patients": 4, "insufficient": "refuse"},
    }
    assert with_current_names(stored) == {
        "seed": 3,
        "data": {"max_invalid_fraction": 0.1, "classes": ["a", "b"]},
        "training": {"random_augmentation": {"rotate": True, "stain": 0.0}},
        "tuning": {"scope": "candidate", "candidate": "vgg16"},
        "gate": {"min_patients": 4, "on_insufficient_data": "fail"},
    }
    tuning = {"tuning": {"scope": "shared", "folds": 3}}
    assert list(with_current_names(tuning)["tuning"]) == ["scope", "folds"]
    assert stored["gate"] == {"patients": 4, "insufficient": "refuse"}


def test_with_current_names_leaves_current_configuration() -> None:
    config = load_config("paper").model_dump(mode="json")
    assert with_current_names(config) == config
