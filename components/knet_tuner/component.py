"""Spec of KnetTuner."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.knet_tuner import executor


class KnetTunerSpec(types.ComponentSpec):
    """Input: transformed examples. Outputs: the best hyperparameters and all trials."""

    PARAMETERS = {
        "candidate": ExecutionParameter(type=str),
        "tuning": ExecutionParameter(type=str),
        "cache_root": ExecutionParameter(type=str),
        "searches": ExecutionParameter(type=str),
        "previous_trials": ExecutionParameter(type=str),
        "previous_digest": ExecutionParameter(type=str),
        "pod_hours": ExecutionParameter(type=int),
    }
    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {
        "best_hyperparameters": ChannelParameter(type=standard_artifacts.HyperParameters),
        "trials": ChannelParameter(type=standard_artifacts.TunerResults),
    }


class KnetTuner(base_component.BaseComponent):
    """Searches hyperparameters on the training patients.

    It replaces TFX's Tuner, which has no workers and stores no trials. `best_hyperparameters` is an input of
    Trainer. `trials` is a folder of `trials.csv`, `summary.json`, plots and logs for TensorBoard.
    """

    SPEC_CLASS = KnetTunerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        examples: types.BaseChannel,
        candidate: str,
        tuning: str,
        cache_root: str,
        searches: str,
        previous_trials: str = "",
        previous_digest: str = "",
        pod_hours: int = 0,
    ) -> None:
        """Create the node.

        Args:
            examples: Transform's examples.
            candidate: `Candidate` to search on, as JSON.
            tuning: `TuningConfig`, as JSON.
            cache_root: Folder of the feature cache.
            searches: Folder for the states of unfinished searches.
            previous_trials: Table of trials for a warm start; empty for none.
            previous_digest: Digest of that table, for the cache key.
            pod_hours: Longest wait, in hours, for a sign of the pods that run the trials (`k8s/tuner`).
                Default: the node runs them.
        """
        super().__init__(
            spec=KnetTunerSpec(
                examples=examples,
                candidate=candidate,
                tuning=tuning,
                cache_root=cache_root,
                searches=searches,
                previous_trials=previous_trials,
                previous_digest=previous_digest,
                pod_hours=pod_hours,
                best_hyperparameters=types.Channel(type=standard_artifacts.HyperParameters),
                trials=types.Channel(type=standard_artifacts.TunerResults),
            )
        )
