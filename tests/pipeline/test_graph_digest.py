"""Which changes make another graph."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline.graph_digest import graph_digest


def graph(**nodes: dict[str, Any]) -> Any:
    """As much of a pipeline as is looked at."""
    return SimpleNamespace(
        components=[SimpleNamespace(id=name, exec_properties=settings) for name, settings in nodes.items()]
    )


def test_the_same_settings_are_the_same_graph() -> None:
    one = graph(Trainer={"code_digest": "1", "folder": Path("/a")}, ModelGate={"rules": "{}"})
    other = graph(ModelGate={"rules": "{}"}, Trainer={"folder": "/a", "code_digest": "1"})
    assert graph_digest(one) == graph_digest(other)


def test_another_setting_or_node_is_another_graph() -> None:
    before = graph_digest(graph(Trainer={"code_digest": "1"}))
    assert graph_digest(graph(Trainer={"code_digest": "2"})) != before
    assert graph_digest(graph(Trainer={"code_digest": "1"}, Tuner={})) != before


def test_what_the_data_gate_compares_with_is_of_no_account() -> None:
    first, later = (graph(DataGate={"previous_digest": digest}, Trainer={}) for digest in ("", "1"))
    assert graph_digest(first) == graph_digest(later)
