"""Ids of nodes: those of a candidate are valid names on Kubernetes, and lead back to it."""

from __future__ import annotations

import pytest

from knet.base import node_ids


@pytest.mark.parametrize("name", ["vgg16", "deep_serial", "a_b_c"])
def test_candidate_of_its_nodes(name: str) -> None:
    for node in (node_ids.tuner(name), node_ids.trainer(name), node_ids.evaluator(name)):
        assert "_" not in node
        assert node_ids.candidate(node) == name


def test_candidate_of_common_nodes_is_empty() -> None:
    common = [node_ids.TUNER, node_ids.TRANSFORM, node_ids.transform(96), node_ids.PUSHER]
    assert [node_ids.candidate(node) for node in common] == [""] * 4
    assert node_ids.kind(node_ids.transform(96)) == node_ids.TRANSFORM
