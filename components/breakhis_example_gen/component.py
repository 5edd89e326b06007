"""Spec of BreakHisExampleGen."""

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
    """Parameters and outputs; there are no inputs."""

    PARAMETERS = {
        "data_source": ExecutionParameter(type=str),
        "data_root": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
        "digests": ExecutionParameter(type=str),
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
    """Ingests BreaKHis, or the images of a manifest, into splits that share no patient."""

    SPEC_CLASS = BreakHisExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        *,
        data_source: str,
        data_root: str,
        fingerprint: str,
        digests: str,
        span: int,
        max_invalid_fraction: float,
        allow_cross_split_duplicates: bool,
        split: Mapping[str, Any],
        keep_duplicate_slides: bool,
        seed: int,
    ) -> None:
        """Create the node.

        Args:
            data_source: Location of the data (`knet.data.catalog.read_catalog`).
            data_root: Folder that a manifest's paths are relative to; empty for none.
            fingerprint: Fingerprint of the data (`knet.data.fingerprint`), for the cache key; data that have
                another one when they are read are refused. Empty: none is known.
            digests: File of the digests behind the fingerprint, to name files that changed; empty for none.
            span: Number of the data among those seen so far.
            max_invalid_fraction: Highest accepted fraction of unusable files.
            allow_cross_split_duplicates: Whether to accept identical pixels in several splits, under several
                patients.
            split: Arguments of `knet.data.split.make_split` except the images.
            keep_duplicate_slides: Whether to keep both copies of a slide filed under two subtypes.
            seed: Seed of the order of images.
        """
        spec = BreakHisExampleGenSpec(
            data_source=data_source,
            data_root=data_root,
            fingerprint=fingerprint,
            digests=digests,
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
