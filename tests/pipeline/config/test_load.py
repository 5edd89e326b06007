"""Presets, files, overrides and error messages of the configuration."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from knet.base.errors import UserError
from knet.models.settings import PAPER_BACKBONES, CandidateConfig
from pipeline.config.config import Config
from pipeline.config.explain import dump_config
from pipeline.config.load import PRESETS, configuration_name, initial_file, load_config
from pipeline.runners.beam import beam_args

ROOT = Path(__file__).resolve().parents[3]
BACKBONES = set(PAPER_BACKBONES)
ROOT_FIELDS = (
    "beam, calibration, candidates, data, data_gate, devices, gate, head, image, kubeflow, metadata, name, "
    "ood, output, report, seed, selection, tracking, training, tuning"
)


def at(config: Config, path: str) -> Any:
    """Return the value at a path, such as `candidates.vgg16.weights`."""
    value: Any = config
    for name in path.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value


def test_overlay_folder_has_the_namespace_of_its_kustomization(tmp_path: Path) -> None:
    (tmp_path / "knet.yaml").write_text("name: mine\nkubeflow: {image: knet:1}\n")
    kustomization = tmp_path / "kustomization.yaml"
    kustomization.write_text("resources: [../../base]\n")
    assert load_config(tmp_path).kubeflow.namespace is None
    kustomization.write_text("namespace: pathology\n")
    kubeflow = load_config(tmp_path).kubeflow
    assert (kubeflow.namespace, kubeflow.image) == ("pathology", "knet:1")
    assert load_config(tmp_path, ["kubeflow.namespace=other"]).kubeflow.namespace == "other"
    (tmp_path / "knet.yaml").write_text("kubeflow: {namespace: elsewhere}\n")
    with pytest.raises(
        UserError, match="namespace is elsewhere, but the kustomization .* to pathology; remove"
    ):
        load_config(tmp_path)
    kustomization.unlink()
    with pytest.raises(UserError, match="cannot read configuration .*kustomization.yaml"):
        load_config(tmp_path)


def test_section_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("training: {epochs: 3}\nseed: 1\ntraining:\n  batch_size: 4\n")
    with pytest.raises(UserError, match="training stands in line 1 and in line 3; merge the two"):
        load_config(file)
    file.write_text("training:\n  epochs: 3\n  epochs: 4\n")
    with pytest.raises(UserError, match="epochs stands in line 2 and in line 3"):
        load_config(file)


@pytest.mark.parametrize("names", ["mobilenet,vgg16", "[mobilenet, vgg16]", "'mobilenet, vgg16'"])
def test_list_of_candidates_keeps_their_settings(names: str, tmp_path: Path) -> None:
    demo = load_config("demo")
    selected = load_config("demo", [f"candidates={names}"])
    assert selected.candidates == {name: demo.candidates[name] for name in ("mobilenet", "vgg16")}
    file = tmp_path / "mine.yaml"
    file.write_text(f"extends: demo\ncandidates: {names}\n")
    assert load_config(file).candidates == selected.candidates
    file.write_text(f"candidates: {names}\ntuning: null\n")
    if names.startswith("["):
        assert set(load_config(file).candidates) == {"mobilenet", "vgg16"}


def test_search_on_a_missing_candidate_names_the_remedy() -> None:
    with pytest.raises(
        UserError, match=r"tuning\.candidate is mobilenet, .*; set tuning\.candidate=vgg16, or tuning=null"
    ):
        load_config("demo", ["candidates=vgg16,resnet50", "tuning.candidate=mobilenet"])
    with pytest.raises(UserError, match=r"candidates\.vgg17"):
        load_config("demo", ["candidates=mobilenet,vgg17"])


def test_candidates_of_one_backbone_have_their_own_settings(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "candidates:\n"
        "  deep: {backbone: vgg16, head: {variant: serial}, training: {fine_tune: blocks, blocks: 1}}\n"
        "  wide_one: {backbone: vgg16, image: {size: 96}, training: {random_augmentation: {stain: 0.1}}}\n"
        "training: {batch_size: 8, random_augmentation: {rotate: true}}\ntuning: null\n"
    )
    config = load_config(file)
    deep, wide = config.for_candidate("deep"), config.for_candidate("wide_one")
    assert (deep.head.variant, wide.head.variant) == ("serial", "parallel")
    assert (deep.training.blocks, wide.training.blocks, deep.training.batch_size) == (1, None, 8)
    assert wide.training.random_augmentation.model_dump() == {"rotate": True, "stain": 0.1, "colour": 0}
    assert (deep.image, wide.image.size) == (config.image, 96)
    file.write_text(dump_config(config))
    assert load_config(file) == config
    assert load_config(file, ["training.batch_size=4"]).for_candidate("deep").training.batch_size == 4


def test_search_replaces_no_setting_of_a_candidate_silently() -> None:
    dropout = "candidates.vgg16.head.dropout=0.1", "tuning.dropout={low: 0.1, high: 0.2}"
    with pytest.raises(UserError, match="candidates.vgg16.head.dropout: .* set tuning.scope=candidate, or"):
        load_config("demo", dropout)
    load_config("demo", [*dropout, "tuning.scope=candidate"])


def test_search_over_several_optimizers_is_one_for_each_candidate() -> None:
    own = "candidates.vgg16.training.optimizer=adamw"
    with pytest.raises(UserError, match="tuning.scope=shared: the candidates have several optimizers"):
        load_config("demo", [own])
    load_config("demo", [own, "tuning.scope=candidate", "tuning.weight_decay={}"])
    with pytest.raises(UserError, match="tuning.weight_decay: SGD has none; set training.optimizer=adamw"):
        load_config("demo", ["tuning.weight_decay={}"])


def test_shared_search_runs_on_the_first_candidate_by_default() -> None:
    config = load_config("demo", ["candidates=vgg16,resnet50"])
    assert config.searched_candidates == ["vgg16"]


def test_candidate_may_be_its_name_alone(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("candidates:\n  mobilenet:\n  vgg16: {weights: none}\n")
    assert load_config(file, ["tuning=null"]).candidates == {
        "mobilenet": CandidateConfig(),
        "vgg16": CandidateConfig(weights="none"),
    }


def test_paths_expand_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "mine.yaml"
    file.write_text(
        "output: ~/runs\ndata: {source: ~/images, schema_file: ~/schema.pbtxt}\n"
        "candidates: {mobilenet: {weights: ~/weights.h5}}\ntuning: null\n"
    )
    config = load_config(file)
    assert (config.output, config.data.source) == (tmp_path / "runs", tmp_path / "images")
    assert config.data.schema_file == tmp_path / "schema.pbtxt"
    assert config.candidates["mobilenet"].weights_file == tmp_path / "weights.h5"
    with pytest.raises(UserError, match="output: '~nobody-here/runs': there is no home folder ~nobody-here"):
        load_config("demo", ["output=~nobody-here/runs"])


def test_extends_merges_maps_and_replaces_other_values(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "extends: production\nname: mine\ntraining: {epochs: 7}\ntuning: null\n"
        "candidates: {vgg16: {weights: none}}\ndata: {classes: [a, b]}\n"
    )
    config, preset = load_config(file), load_config("production")
    assert (config.name, config.training.epochs, config.tuning) == ("mine", 7, None)
    assert config.training.model_copy(update={"epochs": 60}) == preset.training
    assert config.candidates.keys() == BACKBONES and config.candidates["vgg16"].weights == "none"
    assert config.data.classes == ("a", "b") and config.data.split == preset.data.split


def test_configuration_name_says_where_other_fields_come_from(tmp_path: Path) -> None:
    mine, alone = tmp_path / "mine.yaml", tmp_path / "alone.yaml"
    mine.write_text("extends: production\n")
    alone.write_text("seed: 1\n")
    assert configuration_name("paper") == "preset paper"
    assert configuration_name(mine) == f"{mine} (extends preset production)"
    assert configuration_name(alone) == f"{alone} (extends no preset: other fields have their defaults)"
    overlay = Path(__file__).resolve().parents[3] / "k8s" / "overlays" / "production"
    assert configuration_name(overlay) == f"{overlay} (extends preset production)"


@pytest.mark.parametrize("preset", PRESETS)
def test_initial_file_equals_its_preset_with_and_without_comment_signs(preset: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = initial_file(preset, title="My images: 2026")
    head, _, body = text.partition("#\n")
    named = ["name=knet-my-images-2026", "output=runs/my-images-2026"]
    uncommented = head + "".join(line.removeprefix("# ") for line in body.splitlines(keepends=True))
    assert "\ntraining:\n" in uncommented
    for written in (text, uncommented):
        file.write_text(written, encoding="utf-8")
        assert load_config(file) == load_config(preset, named)


@pytest.mark.parametrize("title", ["", "7", "Ärzte", "x" * 99])
def test_initial_file_has_a_valid_name(title: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(initial_file("demo", title=title), encoding="utf-8")
    assert load_config(tmp_path / "mine.yaml").name.startswith("knet-")


@pytest.mark.parametrize("text", ["extends: other", "extends: [demo]", "extends: knet.yaml"])
def test_extends_of_no_preset_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=r"mine\.yaml: extends: .* is no preset; there are demo, paper, prod"):
        load_config(tmp_path / "mine.yaml")


def test_production_overlay_is_the_preset_with_a_cluster() -> None:
    preset = load_config("production")
    overlay = load_config(ROOT / "k8s/overlays/production")
    cluster = {"kubeflow": preset.kubeflow, "beam": preset.beam}
    assert overlay != preset and overlay.model_copy(update=cluster) == preset


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_compares_all_five_backbones(preset: str) -> None:
    assert load_config(preset).candidates.keys() == BACKBONES


def test_production_fine_tunes_the_last_two_blocks() -> None:
    training = load_config("production").training
    assert (training.fine_tune, training.blocks) == ("blocks", 2)


def test_presets_are_all_files_of_the_folder() -> None:
    folder = resources.files("pipeline.config") / "presets"
    assert {file.name for file in folder.iterdir()} == {f"{preset}.yaml" for preset in PRESETS}


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_chooses_beam_workers_by_the_data(preset: str) -> None:
    assert "--runner=components.local_runner.LocalRunner" in beam_args(load_config(preset).beam)


@pytest.mark.parametrize(("workers", "mode"), [(1, "in_memory"), (3, "multi_processing")])
def test_beam_workers_set_the_number_of_processes(workers: int, mode: str) -> None:
    flags = beam_args(load_config("demo", [f"beam.workers={workers}"]).beam)
    assert {f"--direct_num_workers={workers}", f"--direct_running_mode={mode}"} < set(flags)


def test_portable_runner_is_ours() -> None:
    flags = beam_args(load_config("demo", ["beam.args=[--runner=PortableRunner, --job_endpoint=a:1]"]).beam)
    assert flags[1:] == ["--runner=components.portable_runner.PortableRunner", "--job_endpoint=a:1"]


def test_beam_workers_null_of_earlier_versions_is_auto() -> None:
    assert load_config("demo", ["beam.workers=null"]).beam.workers == "auto"


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_output_folder_has_its_name(preset: str) -> None:
    assert load_config(preset).output == Path("runs") / preset


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.split.test_share", 0.10),
        ("data.split.validation_share", 0.20),
        ("data.keep_duplicate_slides", False),
        ("image.size", 227),
        ("image.normalisation", "image"),
        ("training.augmentation", ("original", "flip_horizontal", "flip_vertical")),
        ("training.batch_size", 500),
        ("training.epochs", 200),
        ("training.learning_rate", 0.001),
        ("training.learning_rate_decay", 0.95),
        ("training.momentum", 0.9),
        ("training.micro_batch", 20),
        ("training.fine_tune", "staged"),
        ("training.class_weights", "none"),
        ("training.label_smoothing", 0),
        ("training.random_augmentation.enabled", False),
        ("head.variant", "parallel"),
        ("calibration.temperature", False),
        ("calibration.threshold", 0.5),
        ("tuning", None),
        ("selection.metric", "accuracy"),
        *((f"candidates.{name}.weights", "imagenet") for name in sorted(BACKBONES)),
    ],
)
def test_paper_preset_has_values_of_the_paper(path: str, value: object) -> None:
    assert at(load_config("paper"), path) == value


@pytest.mark.parametrize("section", ["data", "image", "head", "training"])
def test_defaults_are_values_of_the_paper(section: str) -> None:
    assert getattr(Config(), section) == getattr(load_config("paper"), section)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["data.classes=[a, b, c]", "selection.metric=recall"],
            "selection.metric: recall needs two classes; name one of accuracy, balanced_accuracy, macro_roc",
        ),
        (["selection.metric=macro_f1"], "selection.metric: macro_f1 needs more than two classes; name one"),
        (["selection.metric=positive_f1"], "selection.metric: positive_f1 needs a positive group of the "),
        (
            ["data.label=subtype", "selection.metric=cohen_kappa", "gate.minimum={recall: 0.8}"],
            "gate.minimum.recall: recall needs two classes; name one of accuracy, balanced_accuracy, macro_",
        ),
        (["gate.metric=weighted_f1", "gate.margin=0.1"], "gate.metric: weighted_f1 needs more than two"),
    ],
)
def test_metrics_of_another_number_of_classes_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config("demo", settings)
    assert message in str(caught.value)


def test_selection_metric_is_the_macro_area_of_three_classes() -> None:
    assert load_config("demo").selection_metric == "roc_auc"
    assert load_config("demo", ["data.classes=[a, b, c]"]).selection_metric == "macro_roc_auc"


@pytest.mark.parametrize(
    ("settings", "minimum"),
    [
        ([], {"balanced_accuracy": 0.75, "recall": 0.85}),
        (["data.label=subtype"], {"balanced_accuracy": 0.75}),
        (
            ["data.classes=[a, b, c]", "data.positive=[c]"],
            {"balanced_accuracy": 0.75, "positive_recall": 0.85},
        ),
        (["data.label=subtype", "gate.minimum={}"], {}),
    ],
)
def test_gate_rules_have_a_default_for_any_classes(settings: list[str], minimum: dict[str, float]) -> None:
    assert load_config("production", settings).gate_rules["minimum"] == minimum


@pytest.mark.parametrize(
    ("override", "path", "allowed"),
    [
        ("colour=red", "colour", f"no such field; allowed here: {ROOT_FIELDS}"),
        (
            "head.units=3",
            "head.units",
            "no such field; allowed here: dense_units, dropout, lstm_units, variant",
        ),
        ("data.sample.size=3", "data.sample.size", "allowed here: images_per_magnification, patients"),
        (
            "candidates.vgg16.layers=3",
            "candidates.vgg16.layers",
            "alpha, backbone, block_rates, head, image, tr",
        ),
        (
            "selection.metric=f2",
            "selection.metric",
            "'positive_patient_recognition_rate' or 'positive_patient_decision",
        ),
        ("selection.equivalence_margin=2", "selection.equivalence_margin", "less than or equal to 1"),
        ("selection.force_winner=resnet18", "selection.force_winner", "resnet18, which is not among the"),
        ("gate.margin=-1", "gate.margin", "greater than or equal to 0"),
        ("gate.min_patients=0", "gate.min_patients", "greater than or equal to 1"),
        ("gate.on_insufficient_data=maybe", "gate.on_insufficient_data", "'pass' or 'fail'"),
        ("tuning.metric=f1", "tuning.metric", "allowed here: blocks, candidate, dense_units, dr"),
        ("tuning.momentum.step=1", "tuning.momentum.step", "no such field; allowed here: high, low"),
        ("candidates.lenet={}", "candidates.lenet", "lenet is no backbone; set candidates.lenet.backbone to"),
        (
            "candidates.deep.backbone=my nets:build",
            "candidates.deep.backbone",
            "my nets:build is no backbone",
        ),
        ("candidates.deep.backbone=lenet", "candidates.deep.backbone", "lenet is no backbone; set"),
        ("candidates.Deep={}", "candidates.Deep", "should match pattern"),
        ("candidates.deep-one={}", "candidates.deep-one", "should match pattern"),
        ("candidates.deep__one={}", "candidates.deep__one", "should match pattern"),
        (f"candidates.{'a' * 31}={{}}", f"candidates.{'a' * 31}", "at most 30 characters"),
        (
            "candidates.vgg16.head.units=3",
            "candidates.vgg16.head.units",
            "allowed here: dense_units, dropout, l",
        ),
        (
            "candidates.vgg16.image.size=3",
            "candidates.vgg16.image.size",
            "greater than or equal to 32, not 3",
        ),
        (
            "candidates.vgg16.training.random_augmentation.stain=1",
            "candidates.vgg16.training.random_augmentation.stain",
            "less than or equal to 0.5, not 1",
        ),
        ("candidates.vgg16.training.blocks=2", "candidates.vgg16.training", "fine_tune=blocks and blocks go"),
        (
            "candidates.vgg16.training.momentum=0.5",
            "candidates.vgg16.training.momentum",
            "the search replaces",
        ),
        ("gate.minimum.kappa=0.5", "gate.minimum.kappa", "'accuracy', 'balanced_accuracy', 'roc_auc', 'pr_"),
        ("gate.minimum.f1=1.5", "gate.minimum.f1", "less than or equal to 1, not 1.5"),
        ("image.size=16", "image.size", "greater than or equal to 32, not 16"),
        ("image.size=227.5", "image.size", "valid integer, got a number with a fractional part, not 227.5"),
        ("image.normalisation=none", "image.normalisation", "'image', 'backbone' or 'dataset', not 'none'"),
        ("data.split.test_share=0", "data.split.test_share", "greater than 0, not 0"),
        ("data.split.validation_share=1", "data.split.validation_share", "less than 1, not 1"),
        ("data.split.folds=5", "data.split", "folds and fold go together, such as folds=5 and fold=0"),
        ("data.split={folds: 5, fold: 5}", "data.split", "fold 5 is beyond the 5 folds, which count from 0"),
        ("data.split={folds: 5, fold: 0, file: a}", "data.split", "give either folds and fold, or a file"),
        ("data.sample.patients=3", "data.sample.patients", "greater than or equal to 12, not 3"),
        ("training.epochs=many", "training.epochs", "valid integer, unable to parse string as an integer"),
        ("training.epochs=null", "training.epochs", "valid integer, not None"),
        ("training.learning_rate=.nan", "training.learning_rate", "not nan"),
        ("training.momentum=1", "training.momentum", "less than 1, not 1"),
        ("training.optimizer=adam", "training.optimizer", "'sgd' or 'adamw', not 'adam'"),
        ("training.weight_decay=-1", "training.weight_decay", "greater than or equal to 0, not -1"),
        ("training.loss=hinge", "training.loss", "'crossentropy' or 'focal', not 'hinge'"),
        ("training.focal_gamma=-1", "training.focal_gamma", "greater than or equal to 0, not -1"),
        ("tuning.weight_decay.low=0", "tuning.weight_decay.low", "greater than 0, not 0"),
        ("training.augmentation=[]", "training.augmentation", "at least 1 item"),
        (
            "training.augmentation=[blur]",
            "training.augmentation.0",
            "'rotate_180' or 'rotate_270', n",
        ),
        (
            "training={feature_cache: true, fine_tune: blocks, blocks: 0, random_augmentation: {stain: 0.1}}",
            "training",
            "exclude each other: the cache holds one feature map of each view of an image, but random",
        ),
        ("training.feature_cache=true", "training", "needs fine_tune=blocks: with fine_tune=all no block"),
        ("calibration.threshold=best", "calibration.threshold", "'youden' or 'sensitivity', not 'best'"),
        ("calibration.threshold=1", "calibration.threshold", "less than 1, not 1"),
        ("calibration.target_sensitivity=0", "calibration.target_sensitivity", "greater than 0, not 0"),
        ("ood.false_reject_rate=1", "ood.false_reject_rate", "less than 1, not 1"),
        ("report.explanations=-1", "report.explanations", "greater than or equal to 0, not -1"),
        ("training.feature_cache=some", "training.feature_cache", "'auto'"),
        ("training.random_augmentation.stain=1", "training.random_augmentation.stain", "equal to 0.5, not 1"),
        ("training.fine_tune=blocks", "training", "fine_tune=blocks and blocks go together, such as"),
        ("training.blocks=2", "training", "fine_tune=blocks and blocks go together, such as"),
        ("head.variant=lstm", "head.variant", "'parallel', 'serial' or 'none', not 'lstm'"),
        ("devices.precision=float64", "devices.precision", "'auto', 'float32', 'mixed_bfloat16' or"),
        ("training=5", "training", "valid dictionary"),
        ("candidates={}", "candidates", "at least 1 item"),
        ("candidates.vgg16.alpha=0.5", "candidates.vgg16.alpha", "only mobilenet has a width multiplier"),
        ("candidates.mobilenet.alpha=0", "candidates.mobilenet.alpha", "greater than 0, not 0"),
        ("tuning.candidate=lenet", "tuning.candidate", "lenet, which is not among the candidates"),
        ("tuning.backbone=vgg16", "tuning.backbone", "renamed to tuning.candidate"),
        ("tuning.scope=backbone", "tuning.scope", "'shared' or 'candidate', not 'backbone'"),
        ("tuning.learning_rate={low: 0.5, high: 0.1}", "tuning.learning_rate", "low must be below high, not"),
        ("tuning.momentum={low: 0.5, high: 0.5}", "tuning.momentum", "low must be below high, not 0.5 and"),
        ("tuning.learning_rate.low=0", "tuning.learning_rate.low", "greater than 0, not 0"),
        ("tuning.momentum.high=1", "tuning.momentum.high", "less than 1, not 1"),
        ("tuning.objective=f1", "tuning.objective", "'val_loss' or 'balanced_accuracy', not 'f1'"),
        ("tuning.method=annealing", "tuning.method", "'bayesian', 'hyperband', 'random' or 'grid', not"),
        ("tuning.trials=0", "tuning.trials", "greater than or equal to 1, not 0"),
        ("tuning.epochs=0", "tuning.epochs", "greater than or equal to 1, not 0"),
        ("tuning.folds=0", "tuning.folds", "greater than or equal to 1, not 0"),
        ("tuning.workers=0", "tuning.workers", "greater than or equal to 1, not 0"),
        ("tuning.dropout={low: 0.5, high: 0.1}", "tuning.dropout", "low must be below high, not 0.5 and 0.1"),
        ("tuning.learning_rate.high=.nan", "tuning.learning_rate.high", "less than or equal to 10, not nan"),
        ("tuning.lstm_units=[0]", "tuning.lstm_units.0", "greater than or equal to 1, not 0"),
        ("tuning.warm_start=3", "tuning", "must be below trials=3, the first of which has the paper's"),
        (
            "tuning.method=grid",
            "tuning",
            "need up to 17 trials, not 3; set trials=17, or a lower grid_points",
        ),
        ("tuning.blocks=[1]", "", "tuning.blocks needs training.fine_tune=blocks, not all"),
        ("selection.metric=loss", "selection.metric", "'balanced_accuracy', 'roc_auc'"),
        ("name=Knet 1", "name", "should match pattern"),
        ("seed=-1", "seed", "greater than or equal to 0, not -1"),
        (
            "beam={workers: 2, args: [--runner=PortableRunner]}",
            "beam.workers",
            "it is of the local runner, but beam.args names a runner; set beam.workers=auto",
        ),
        (
            "beam={components: {Transform: [--runner=PortableRunner]}}",
            "beam.components",
            "Transform has a --runner, which would get the options of the local runner too",
        ),
        ("beam.components={Trainer: [--a]}", "beam.components.Trainer", "'BreakHisExampleGen', 'Statis"),
        ("beam.workers=0", "beam.workers", "greater than or equal to 1, not 0"),
        ("beam.args=[--setup_file=./setup.py]", "beam.args", "run make wheels, and name each wheel in dist/"),
    ],
)
def test_load_config_error_names_field_and_range(override: str, path: str, allowed: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config("demo", [override])
    heading, *lines = str(caught.value).split("\n")
    assert heading == "configuration demo:"
    assert any(line.startswith(f"  {path}") and allowed in line for line in lines)


def test_load_config_error_has_line_for_each_field() -> None:
    with pytest.raises(UserError) as caught:
        load_config("demo", ["seed=-1", "image.size=1", "colour=red"])
    assert [line.split(":")[0].strip() for line in str(caught.value).split("\n")[1:]] == [
        "seed",
        "image.size",
        "colour",
    ]


def test_load_config_reversed_range_is_reported_once() -> None:
    with pytest.raises(UserError) as caught:
        load_config("demo", ["tuning.momentum={low: 0.9, high: 0.5}"])
    assert str(caught.value).endswith("tuning.momentum: low must be below high, not 0.9 and 0.5")


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=7", "seed", 7),
        ("training.learning_rate=1e-2", "training.learning_rate", 0.01),
        ("candidates.mobilenet.alpha=0.5", "candidates.mobilenet.alpha", 0.5),
        ("candidates.vgg16.weights=a=b.h5", "candidates.vgg16.weights", "a=b.h5"),
        ("gate.minimum={f1: 0.5}", "gate.minimum", {"f1": 0.5}),
        ("gate.minimum.f1=0.5", "gate.minimum", {"f1": 0.5}),
        ("training.augmentation=[flip_vertical]", "training.augmentation", ("flip_vertical",)),
        ("tuning=null", "tuning", None),
        ("selection.force_winner=resnet152", "selection.force_winner", "resnet152"),
        ("gate.margin=null", "gate.margin", None),
        ("data.source=/data/BreaKHis_v1", "data.source", Path("/data/BreaKHis_v1")),
        ("data.source=", "data.source", None),
        ("data.keep_duplicate_slides=true", "data.keep_duplicate_slides", True),
        ('output="a folder/of: mine"', "output", Path("a folder/of: mine")),
    ],
)
def test_override_sets_field(override: str, path: str, value: object) -> None:
    assert at(load_config("demo", [override]), path) == value


def test_override_last_one_wins() -> None:
    assert load_config("demo", ["seed=1", "seed=2"]).seed == 2


def test_override_keeps_other_fields_of_section() -> None:
    plain, changed = load_config("demo"), load_config("demo", ["training.epochs=9"])
    assert changed.training == plain.training.model_copy(update={"epochs": 9})


def test_override_below_null_creates_section() -> None:
    tuning = load_config("paper", ["tuning.trials=4"]).tuning
    assert tuning is not None
    assert tuning.trials == 4


def test_force_winner_must_be_a_candidate() -> None:
    with pytest.raises(UserError, match="selection.force_winner is efficientnetv2b0, which is not among"):
        load_config("demo", ["selection.force_winner=efficientnetv2b0"])


@pytest.mark.parametrize("override", ["training.epochs", "=3", ""])
def test_override_without_key_or_value_is_refused(override: str) -> None:
    with pytest.raises(UserError, match=f"--set {override}: write it as key.path=value"):
        load_config("demo", [override])


def test_override_with_invalid_yaml_is_refused() -> None:
    with pytest.raises(UserError, match="the value is not valid YAML"):
        load_config("demo", ["training.epochs=[1"])


@pytest.mark.parametrize("comments", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_dump_config_loads_to_equal_configuration(preset: str, comments: bool, tmp_path: Path) -> None:
    overrides = [
        "data.source=/daten/größe",
        "beam.args=[--a=b]",
        "metadata={host: db}",
        "tuning={trials: 3, dropout: {}}",
        "kubeflow.volumes=[{claim: a, mount_path: /a}]",
        "kubeflow.resources={'on': {tolerations: [{key: a}]}, '1': {env: {A: \"a\\n\\n b: #\"}}}",
    ]
    config = load_config(preset, overrides)
    (tmp_path / "dumped.yaml").write_text(dump_config(config, comments=comments), encoding="utf-8")
    assert load_config(tmp_path / "dumped.yaml") == config


def test_dump_config_describes_each_field_in_a_comment() -> None:
    lines = dump_config(load_config("demo"), comments=True).splitlines()
    for field, comment in {
        "seed: 0": "# Seed of splits, initial weights, order and augmentation. [>= 0, < 2147483648]",
        "  epochs: 2": "  # Most epochs; early stopping may end sooner. [>= 1; epochs]",
        "training:": "# Training of each candidate.",
    }.items():
        assert lines[lines.index(field) - 1] == comment


def test_config_is_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config("demo").seed = 1  # type: ignore[misc]


def test_load_config_file_has_defaults_for_missing_fields(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 3\ncandidates:\n  mobilenet: {weights: none}\n", encoding="utf-8")
    expected = Config.model_validate({"seed": 3, "candidates": {"mobilenet": {"weights": "none"}}})
    assert load_config(file) == expected


def test_load_config_empty_file_gives_defaults(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing\n", encoding="utf-8")
    assert load_config(file) == Config()


def test_load_config_missing_file_is_named_with_presets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: No such file .* presets demo, paper, production"):
        load_config(tmp_path / "none.yaml")


def test_load_config_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"cannot read configuration {tmp_path}: Is a directory"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"training: [", "is not valid YAML"),
        (b"- training\n", "must hold fields .* not a list"),
        (b"just words", "must hold fields .* not a str"),
        (b"a\0b", "is not valid YAML"),
        (b"\xff\xfe\x81", "is not"),
    ],
)
def test_load_config_file_without_fields_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_bytes(text)
    with pytest.raises(UserError, match=f"configuration .*wrong.yaml.* {message}"):
        load_config(file)


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text() | st.integers(), inner, max_size=2),
    max_leaves=4,
)


@given(field=st.sampled_from(sorted(Config.model_fields)), value=yaml_values)
def test_load_config_any_value_loads_or_raises_user_error(
    field: str, value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(yaml.safe_dump({field: value}), encoding="utf-8")
    try:
        assert field in load_config(file).model_fields_set
    except UserError as error:
        assert f"  {field}" in str(error)


def test_split_settings_are_json() -> None:
    config = load_config("paper", ["data.split={folds: 5, fold: 4, file: null}", "seed=3"])
    settings = config.with_slices(("stain",)).split_settings
    assert json.loads(json.dumps(settings)) == settings
    assert settings == {
        "classes": ["benign", "malignant"],
        "slices": ["stain"],
        "seed": 3,
        "test_share": 0.1,
        "validation_share": 0.2,
        "folds": 5,
        "fold": 4,
        "file": None,
        "unit": "patient",
    }


def test_with_slices_keeps_configured_slices() -> None:
    for named, slices in (("null", ("stain",)), ("[]", ()), ("[scanner]", ("scanner",))):
        config = load_config("demo", [f"data.slices={named}"])
        assert config.with_slices(("stain",)).data.slices == slices


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training=", r"training is empty: remove it, or give fields of it, such as augmentation, "),
        ("head=", r"head is empty: remove it, or give fields of it, such as dense_units, "),
        ("kubeflow.volumes=[null]", r"kubeflow\.volumes\.0 is empty: .*, such as claim"),
        ("candidates={mobilenet: 5}", r"candidates\.mobilenet: Input should be a valid dictionary, not 5"),
    ],
)
def test_load_config_section_without_fields_is_an_error(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config("demo", [override])
