"""No garbage is collected while modules are imported."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from pipeline.runners.kubeflow.import_without_collecting import import_without_collecting


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.enable()


def test_it_is_collected_later() -> None:
    with import_without_collecting():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_after_a_failed_import_too() -> None:
    with pytest.raises(ImportError), import_without_collecting():
        raise ImportError
    assert gc.isenabled()


def test_who_never_collects_does_not_begin_to() -> None:
    gc.disable()
    with import_without_collecting():
        pass
    assert not gc.isenabled()
