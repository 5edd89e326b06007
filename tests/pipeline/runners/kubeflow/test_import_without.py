"""A module does without a package that everything else has."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from pipeline.runners.kubeflow.import_on_use import import_on_use
from pipeline.runners.kubeflow.import_without import import_without

_GUARDED = """
try:
    import slow_package.part as part
except ImportError:
    part = None
"""


def test_the_one_module_finds_none_and_others_do(ran: list[str], tmp_path: Path) -> None:
    (tmp_path / "importer.py").write_text(_GUARDED)
    (tmp_path / "another.py").write_text(_GUARDED)
    import_without("importer", "slow_package")
    assert importlib.import_module("importer").part is None and ran == []
    assert importlib.import_module("another").part is sys.modules["slow_package.part"]


def test_what_is_there_already_is_not_hidden(ran: list[str], tmp_path: Path) -> None:
    (tmp_path / "importer.py").write_text(_GUARDED)
    importlib.import_module("slow_package.part")
    import_without("importer", "slow_package")
    assert importlib.import_module("importer").part is sys.modules["slow_package.part"]


def test_what_is_put_off_does_without_when_it_runs(ran: list[str], tmp_path: Path) -> None:
    (tmp_path / "importer.py").write_text(_GUARDED)
    import_on_use("importer")
    import_without("importer", "slow_package")
    importer = importlib.import_module("importer")
    assert importer.part is None and ran == []
    assert importer.__spec__ is not None and importer.__spec__.loader is importer.__loader__
    assert importlib.import_module("slow_package.part")
