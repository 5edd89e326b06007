"""Descriptions of the settings: `knet config explain`, the JSON schema and docs/settings.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from knet.base.errors import UserError
from pipeline.config.explain import SettingsSection, explain, json_schema, settings_page, settings_sections

ROOT = Path(__file__).resolve().parents[3]
FILES = [
    *(ROOT / "pipeline" / "config" / "presets").glob("*.yaml"),
    *(ROOT / "k8s").glob("**/knet.yaml"),
    *(ROOT / "examples").glob("*/config.yaml"),
    *(ROOT / "pipeline" / "experiments").glob("*.yaml"),
]
SETTINGS = {setting.path: setting for section in settings_sections() for setting in section.settings}


@pytest.mark.parametrize("path", SETTINGS)
def test_setting_has_description(path: str) -> None:
    assert SETTINGS[path].description.endswith(".")


@pytest.mark.parametrize("section", settings_sections(), ids=lambda section: section.path or "top")
def test_section_has_description_and_settings(section: SettingsSection) -> None:
    assert section.description.split("\n")[0].endswith(".")
    assert section.settings


def test_settings_page_is_current() -> None:
    """`make settings` writes the page."""
    assert (ROOT / "docs" / "settings.md").read_text("utf-8") == settings_page()


@pytest.mark.parametrize(
    ("path", "facts"),
    [
        ("training.batch_size", "type: integer; default: 500; range: >= 1; unit: images"),
        ("training.micro_batch", "type: integer or null; default: 20; range: >= 1; unit: images"),
        ("image.size", "type: integer; default: 227; range: 32 to 1024; unit: pixels"),
        ("head.dropout", "type: number; default: 0.5; range: >= 0, < 1; unit: fraction of the units"),
        ("head.variant", "type: string; default: parallel; range: parallel, serial, none"),
        ("devices.xla", "type: string or boolean; default: auto; range: auto, true, false"),
        ("calibration.threshold", "default: youden; range: youden, sensitivity, > 0, < 1"),
        ("data.source", "type: path or null; default: null"),
        ("data.slices", "type: list of string or null; default: null"),
        (
            "data.classes",
            "default: [benign, malignant]; range: at least 2 entries, matches",
        ),
        ("training.augmentation", "range: at least 1 entry, original, flip_horizontal, flip_vertical, rot"),
        (
            "gate.minimum",
            "type: map of number or null; default: null; range: keys accuracy, balanced_accuracy, roc_auc",
        ),
        ("candidates.vgg16.alpha", "type: number or null; default: null; range: > 0, <= 2"),
        ("kubeflow.volumes.0.claim", "type: string; default: required; range: matches"),
        ("kubeflow.env", "type: map of string; default: {}; range: keys match"),
        ("kubeflow.resources.Trainer.cpu", "type: number; default: 2; range: > 0; unit: cores"),
    ],
)
def test_explain_field(path: str, facts: str) -> None:
    name, description, given = explain(path).split("\n")
    assert len(name.split(".")) == len(path.split("."))
    assert description.strip() == SETTINGS[name].description
    assert facts in given


def test_explain_own_setting_of_a_candidate_is_the_common_one() -> None:
    assert explain("candidates.deep.head.variant") == explain("head.variant")


def test_explain_section_includes_sections_in_it() -> None:
    text = explain("data")
    assert text.startswith("data: The images")
    assert "data.max_invalid_fraction\n" in text
    assert "data.split: The split" in text
    assert "data.split.folds\n" in text
    assert "data_gate" not in text


@pytest.mark.parametrize("path", ["tuning", "tuning.dropout", "metadata", "candidates", "kubeflow.volumes"])
def test_explain_optional_section_has_default_and_fields(path: str) -> None:
    text = explain(path)
    assert text.startswith(f"{path}\n    {SETTINGS[path].description}\n    type: ")
    assert f"\n\n{path}." in text


def test_explain_without_field_lists_all() -> None:
    lines = explain().splitlines()
    assert [line for line in lines if line in SETTINGS] == list(SETTINGS)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("gate.minimun", "did you mean gate.minimum or"),
        ("epochs", "did you mean training.epochs or tuning.epochs"),
        ("trainning", "did you mean training or"),
        ("training.epochs.x", "did you mean training.epochs or"),
        ("zzz", "`knet config explain` lists all settings"),
    ],
)
def test_explain_unknown_field_names_near_matches(path: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        explain(path)
    assert str(caught.value).startswith(f"{path}: no such setting; {hint}")
    assert "\n" not in str(caught.value)


def test_explain_renamed_field_names_new_one() -> None:
    with pytest.raises(UserError, match=r"^selection\.tie: renamed to selection\.equivalence_margin$"):
        explain("selection.tie")


@pytest.fixture(scope="module")
def validator() -> Any:
    """JSON schema validator of configurations; only TFX 1.16 depends on the package."""
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_json_schema_accepts_configuration(file: Path, validator: Any) -> None:
    validator.validate(yaml.safe_load(file.read_text("utf-8")))


@pytest.mark.parametrize(
    "tree",
    [{"training": {"epoch": 3}}, {"image": {"size": 8}}, {"candidates": {"Deep": {}}}, {"extends": "a"}],
)
def test_json_schema_refuses_invalid_configuration(tree: object, validator: Any) -> None:
    assert not validator.is_valid(tree)
