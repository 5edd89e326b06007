"""The component's interface."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.breakhis_example_gen import executor


class BreakHisExampleGenSpec(types.ComponentSpec):
    """Outputs from parameters alone."""

    PARAMETERS = {
        "data_source": ExecutionParameter(type=str),
        "data_root": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
        "span": ExecutionParameter(type=int),
        "max_invalid_fraction": ExecutionParameter(type=float),
        "allow_cross_split_duplicates": ExecutionParameter(type=int),
        "split": ExecutionParameter(type=str),
        "keep_duplicate_slides": ExecutionParameter(type=int),
        "seed": ExecutionParameter(type=int),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "ingest": ChannelParameter(type=standard_artifacts.JsonValue),
        "splits": ChannelParameter(type=standard_artifacts.JsonValue),
    }


class BreakHisExampleGen(base_beam_component.BaseBeamComponent):
    """Ingests BreaKHis, or what a manifest lists, into splits that share no patient."""

    SPEC_CLASS = BreakHisExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        *,
        data_source: str,
        data_root: str,
        fingerprint: str,
        span: int,
        max_invalid_fraction: float,
        allow_cross_split_duplicates: bool,
        split: Mapping[str, Any],
        keep_duplicate_slides: bool,
        seed: int,
    ) -> None:
        """Makes the node.

        Args:
            data_source: the location that `catalog.read_catalog` takes.
            data_root: where a manifest's paths are, or nothing.
            fingerprint: of the content (`fingerprint.fingerprint`), so that the cache sees new data.
            span: the number that this content has among those seen so far.
            max_invalid_fraction: of unusable files, above which the node fails.
            allow_cross_split_duplicates: only report the same pixels in several splits, under several
                patients.
            split: what `make_split` takes beside the images; the classes among it.
            keep_duplicate_slides: keep both copies of a slide filed under two subtypes.
            seed: of the order of images.
        """
        spec = BreakHisExampleGenSpec(
            data_source=data_source,
            data_root=data_root,
            fingerprint=fingerprint,
            span=span,
            max_invalid_fraction=max_invalid_fraction,
            allow_cross_split_duplicates=int(allow_cross_split_duplicates),
            split=json.dumps(split),
            keep_duplicate_slides=int(keep_duplicate_slides),
            seed=seed,
            examples=types.Channel(type=standard_artifacts.Examples),
            ingest=types.Channel(type=standard_artifacts.JsonValue),
            splits=types.Channel(type=standard_artifacts.JsonValue),
        )
        super().__init__(spec=spec)
