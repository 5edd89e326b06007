"""A folder of results belongs to one cross-validation; options name candidates."""

from __future__ import annotations

from pathlib import Path

import pytest

from knet.base.errors import UserError
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.experiments.folds_folder import check_options, claim_results, results_folder

CANDIDATES = "candidates={deep: {backbone: vgg16}, random: {backbone: vgg16, weights: none}}"


def configured(folder: Path, *overrides: str) -> Config:
    return load_config("demo", [f"output={folder}", CANDIDATES, *overrides])


def claim(config: Config, *, folds: int = 5, probe: str | None = None, fingerprint: str = "f" * 64) -> None:
    claim_results(config, folds=folds, probe=probe, fingerprint=fingerprint)


@pytest.mark.parametrize(
    "override", ["gate.margin=0.1", "selection.metric=accuracy", "data.split={folds: 3, fold: 1}"]
)
def test_claim_results_continues_with_other_rules_for_the_winner(tmp_path: Path, override: str) -> None:
    claim(configured(tmp_path, "data.split={validation_share: 0.2}"))
    claim(configured(tmp_path, "data.split.validation_share=0.2", override))


def test_claim_results_refuses_changed_settings(tmp_path: Path) -> None:
    claim(configured(tmp_path))
    folder = results_folder(configured(tmp_path))
    with pytest.raises(UserError, match=r"with training.epochs=2, now 7; set another output, or delete") as e:
        claim(configured(tmp_path, "training.epochs=7"))
    assert str(folder) in str(e.value)
    with pytest.raises(UserError, match="with --folds=5, now 4"):
        claim(configured(tmp_path), folds=4)
    with pytest.raises(UserError, match="with --probe=None, now deep"):
        claim(configured(tmp_path), probe="deep")
    with pytest.raises(UserError, match="of other images"):
        claim(configured(tmp_path), fingerprint="e" * 64)


def test_claim_results_refuses_a_foreign_folder(tmp_path: Path) -> None:
    folder = results_folder(configured(tmp_path))
    folder.mkdir()
    claim(configured(tmp_path))
    (folder / "settings.json").rename(folder / "thesis.json")
    with pytest.raises(UserError, match="is not the result of a cross-validation; move it"):
        claim(configured(tmp_path))


def test_claim_results_refuses_a_damaged_file(tmp_path: Path) -> None:
    claim(configured(tmp_path))
    (results_folder(configured(tmp_path)) / "settings.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="settings.json"):
        claim(configured(tmp_path))


@pytest.mark.parametrize(
    ("overrides", "options", "message"),
    [
        ((), {"probe": "wide"}, "--probe wide: no such candidate; name one of deep, random"),
        ((), {"probe": "random"}, "--probe random: its weights are random"),
        ((), {"baseline": "probe"}, "--baseline probe: no such candidate; name one of deep, random"),
        (("candidates.probe.backbone=vgg16",), {"probe": "deep"}, "candidates.probe: the linear probe has"),
        (("data.split.file=split.json",), {}, "data.split.file: a cross-validation makes its own splits"),
    ],
)
def test_check_options_refuses(
    tmp_path: Path, overrides: tuple[str, ...], options: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_options(configured(tmp_path, *overrides), **{"probe": None, "baseline": None, **options})


def test_check_options_accepts_the_probe_as_baseline(tmp_path: Path) -> None:
    check_options(configured(tmp_path), probe="deep", baseline="probe")
