"""The nodes of the graph carry digests of the code that they run."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest
import yaml

from pipeline import dag, digest
from pipeline.config import load_config
from pipeline.runners.kubeflow.compile_pipeline import compile_pipeline


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of our packages."""
    copy = tmp_path / "tree"
    for package in digest._OURS:
        shutil.copytree(digest._ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def _edit(tree: Path, file: str, old: str, new: str) -> None:
    path = tree / file
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")


def _code_digests(tree: Path) -> dict[str, str]:
    """Those of the code in a tree, by node."""
    output = tree.with_name("pipeline.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dag, "code_digest", functools.partial(digest.code_digest, root=tree))
        compile_pipeline(load_config("demo"), output)
    spec = next(yaml.safe_load_all(output.read_text("utf-8")))
    tasks = spec["components"]["Graph"]["dag"]["tasks"]
    found = {name: task["inputs"]["parameters"].get("code_digest") for name, task in tasks.items()}
    return {name: str(value["runtimeValue"]) for name, value in found.items() if value}


def _changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, value in after.items() if value != before[name]}


def _training(nodes: dict[str, str]) -> set[str]:
    """Tuner and Trainers."""
    found = {name for name in nodes if name.partition("-")[0] in {"Tuner", "Trainer"}}
    assert any(name.startswith("Tuner") for name in found) and len(found) > 1
    return found


def test_code_digests_of_nodes_ignore_comments_and_docstrings(tree: Path) -> None:
    before = _code_digests(tree)
    _edit(tree, "pipeline/config/cron.py", "# Smallest and largest number", "# Lowest and highest number")
    _edit(tree, "pipeline/training.py", '"""Trains, restores', '"""Trains the model, restores')
    assert len(before) > 10 and _code_digests(tree) == before


def test_code_digest_changes_where_the_optimiser_is_run(tree: Path) -> None:
    before = _code_digests(tree)
    _edit(tree, "pipeline/models/block_sgd.py", "momentum: Any = 0.9,", "momentum: Any = 0.8,")
    assert _changed(before, _code_digests(tree)) == _training(before)


def test_code_digests_cover_kubeflow_settings_in_training_at_most(tree: Path) -> None:
    # Importing a section of settings runs pipeline.config, which composes them all.
    before = _code_digests(tree)
    _edit(tree, "pipeline/config/kubeflow.py", "cpu: Quantity = Field(2", "cpu: Quantity = Field(3")
    _edit(tree, "pipeline/config/cron.py", '"second": (0, 59, {})', '"second": (0, 60, {})')
    assert _changed(before, _code_digests(tree)) <= _training(before)
