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
        "fingerprint": ExecutionParameter(type=str),
        "split": ExecutionParameter(type=str),
        "keep_duplicate_slides": ExecutionParameter(type=int),
        "seed": ExecutionParameter(type=int),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "splits": ChannelParameter(type=standard_artifacts.JsonValue),
    }


class BreakHisExampleGen(base_beam_component.BaseBeamComponent):
    """Ingests a BreaKHis folder into train, validation and test examples that share no patient."""

    SPEC_CLASS = BreakHisExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        *,
        data_source: str,
        fingerprint: str,
        split: Mapping[str, Any],
        keep_duplicate_slides: bool,
        seed: int,
    ) -> None:
        """Makes the node.

        Args:
            data_source: as `catalog.read_catalog` takes it.
            fingerprint: of the folder's content (`catalog.check_files`), so that the cache sees new data.
            split: what `make_split` takes beside the images.
            keep_duplicate_slides: keep both copies of a slide filed under two subtypes.
            seed: of the order of records.
        """
        spec = BreakHisExampleGenSpec(
            data_source=data_source,
            fingerprint=fingerprint,
            split=json.dumps(split),
            keep_duplicate_slides=int(keep_duplicate_slides),
            seed=seed,
            examples=types.Channel(type=standard_artifacts.Examples),
            splits=types.Channel(type=standard_artifacts.JsonValue),
        )
        super().__init__(spec=spec)
