"""The component's interface."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.knet_tuner import executor


class KnetTunerSpec(types.ComponentSpec):
    """Transformed examples in, the best hyperparameters and all trials out."""

    PARAMETERS = {
        "candidate": ExecutionParameter(type=str),
        "tuning": ExecutionParameter(type=str),
        "cache_root": ExecutionParameter(type=str),
        "searches": ExecutionParameter(type=str),
        "previous_trials": ExecutionParameter(type=str),
        "previous_digest": ExecutionParameter(type=str),
        "pods": ExecutionParameter(type=int),
    }
    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {
        "best_hyperparameters": ChannelParameter(type=standard_artifacts.HyperParameters),
        "trials": ChannelParameter(type=standard_artifacts.TunerResults),
    }


class KnetTuner(base_component.BaseComponent):
    """Searches on the training patients alone; TFX's own Tuner takes no workers and keeps no trial.

    `best_hyperparameters` is what Trainer takes. `trials` is a folder: `trials.csv`, `summary.json`, plots
    and logs for TensorBoard.
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
        pods: bool = False,
    ) -> None:
        """Makes the node.

        Args:
            examples: Transform's output.
            candidate: the `Candidate` that is searched on, as JSON.
            tuning: the `TuningConfig`, as JSON.
            cache_root: folder for feature maps.
            searches: folder for the states of searches that have not ended.
            previous_trials: the table of the search to begin with; empty begins with none.
            previous_digest: of its content, so that the cache sees another one.
            pods: whether processes elsewhere run the trials (`k8s/tuner`).
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
                pods=int(pods),
                best_hyperparameters=types.Channel(type=standard_artifacts.HyperParameters),
                trials=types.Channel(type=standard_artifacts.TunerResults),
            )
        )
