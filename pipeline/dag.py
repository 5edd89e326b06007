"""The graph. Runners only run it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tfx.components import ExampleValidator, Pusher, StatisticsGen, Trainer, Transform
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2, trainer_pb2

from components.breakhis_example_gen.component import BreakHisExampleGen
from components.data_gate.component import DataGate
from components.knet_evaluator.component import KnetEvaluator
from components.knet_pusher.executor import Executor as PusherExecutor
from components.knet_tuner.component import KnetTuner
from components.model_gate.component import ModelGate
from components.model_selector.component import ModelSelector
from components.serving_validator.component import ServingValidator
from knet.base.digests import code_digest, file_digest, text_digest
from knet.models.settings import CalibrationConfig, OodConfig
from knet.runs.registry import StoredPredictions, StoredStatistics, StoredTrials
from knet.training.candidate import Candidate
from pipeline.config.candidate import candidate_from_config
from pipeline.config.config import Config


def create_pipeline(
    config: Config,
    *,
    data_source: str,
    data_root: str,
    fingerprint: str,
    split_sha256: str,
    span: int,
    synthetic_data: bool,
    schema_file: str,
    schema_digest: str,
    pipeline_root: str,
    push_folder: str,
    checkpoints: str,
    cache_root: str,
    previous_statistics: StoredStatistics | None = None,
    baseline: StoredPredictions | None = None,
    previous_trials: Mapping[str, StoredTrials] | None = None,
    tuner_pods: bool = False,
    beam_args: Sequence[str] = (),
    metadata_connection: Any = None,
) -> Pipeline:
    """Builds the graph, for any runner.

    Args:
        config: the experiment; the columns to slice by are known (`Config.with_slices`).
        data_source: the folder, archive or manifest, as the machine that runs the nodes sees it.
        data_root: where a manifest's paths are, likewise; else empty.
        fingerprint: of the content; empty where it is not known yet.
        split_sha256: of the frozen split, likewise.
        span: the number of this content among those seen so far.
        synthetic_data: whether the images are the synthetic samples; models and reports then say so.
        schema_file: the curated schema, likewise.
        schema_digest: of its content.
        pipeline_root: where artifacts are written.
        push_folder: where TF Serving looks for versions of the model.
        checkpoints: where Trainer and Tuner keep the state of what has not ended; the same for every run.
        cache_root: folder for what the frozen blocks of a backbone make of the images.
        previous_statistics: what DataGate looks for drift from; none looks for none.
        baseline: what the model in production said, for ModelGate; none compares with none.
        previous_trials: of an earlier search on a backbone, with which the Tuner begins; none needs none.
        tuner_pods: whether the search runs in pods of its own.
        beam_args: flags of every Beam pipeline.
        metadata_connection: of the MLMD store; none where the runner has its own.
    """
    example_gen = _with_code_digest(
        BreakHisExampleGen(
            data_source=data_source,
            data_root=data_root,
            fingerprint=fingerprint,
            span=span,
            max_invalid_fraction=config.data.max_invalid_fraction,
            allow_cross_split_duplicates=config.data.allow_cross_split_duplicates,
            split=config.split_settings,
            keep_duplicate_slides=config.data.keep_duplicate_slides,
            seed=config.seed,
        ),
        "components.breakhis_example_gen.executor",
        split_file=file_digest(config.data.split.file) if config.data.split.file else "",
    )
    examples = example_gen.outputs["examples"]
    import_schema = _with_code_digest(ImportSchemaGen(schema_file=schema_file), schema=schema_digest)
    schema = import_schema.outputs["schema"]
    statistics_gen = _with_code_digest(StatisticsGen(examples=examples, schema=schema))
    example_validator = _with_code_digest(
        ExampleValidator(statistics=statistics_gen.outputs["statistics"], schema=schema)
    )
    data_gate = _with_code_digest(
        DataGate(
            anomalies=example_validator.outputs["anomalies"],
            statistics=statistics_gen.outputs["statistics"],
            schema=schema,
            classes=config.data.classes,
            previous_statistics=str(previous_statistics.folder) if previous_statistics else "",
            previous_digest=previous_statistics.digest if previous_statistics else "",
        ),
        "components.data_gate.executor",
    )
    transform = _with_code_digest(
        Transform(
            examples=examples,
            schema=schema,
            preprocessing_fn="knet.training.preprocessing.preprocessing_fn",
            custom_config={"image_size": config.image.size},
            disable_statistics=True,  # they would be of serialised pixels
        ),
        "knet.training.preprocessing",
    )
    # Nothing below starts before the data are found good.
    transform.add_upstream_node(data_gate)

    candidates = {
        name: candidate_from_config(config, name, synthetic_data=synthetic_data) for name in config.candidates
    }
    places = {"cache_root": cache_root, "checkpoints": checkpoints}
    tuners = {
        name: _tuner(
            config,
            candidates[name],
            transform,
            previous=(previous_trials or {}).get(name),
            pods=tuner_pods,
            **places,
        )
        for name in config.searched_backbones
    }
    tuner_of = {name: tuners.get(name) or next(iter(tuners.values()), None) for name in candidates}
    # For the model's own account; where they change, the examples do too.
    data = {"fingerprint": fingerprint, "split_sha256": split_sha256}
    trainers = {
        name: _trainer(candidate, transform, tuner_of[name], **places, **data)
        for name, candidate in candidates.items()
    }
    models = {name: trainer.outputs["model"] for name, trainer in trainers.items()}
    slices = config.data.slices or ()
    evaluators = {
        name: _evaluator(name, model, examples, schema, slices=slices) for name, model in models.items()
    }
    selector = _with_code_digest(
        ModelSelector(
            models=models,
            evaluations={name: evaluator.outputs["evaluation"] for name, evaluator in evaluators.items()},
            settings=config.selection.model_dump(),
            slices=slices,
            seed=config.seed,
        ),
        "components.model_selector.executor",
    )
    gate = _with_code_digest(
        ModelGate(
            evaluation=selector.outputs["evaluation"],
            rules=config.gate.model_dump(),
            classes=config.data.classes,
            baseline=baseline,
            seed=config.seed,
        ),
        "components.model_gate.executor",
    )
    validator = _with_code_digest(
        ServingValidator(
            model=selector.outputs["model"],
            model_runs={name: trainer.outputs["model_run"] for name, trainer in trainers.items()},
            blessing=gate.outputs["blessing"],
            examples=examples,
        ),
        "components.serving_validator.executor",
    )
    pusher = _with_code_digest(
        Pusher(
            model=selector.outputs["model"],
            model_blessing=gate.outputs["blessing"],
            infra_blessing=validator.outputs["infra_blessing"],
            push_destination=pusher_pb2.PushDestination(
                filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=push_folder)
            ),
            custom_executor_spec=executor_spec.ExecutorClassSpec(PusherExecutor),
        ),
        "components.knet_pusher.executor",
    )
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=pipeline_root,
        components=[
            example_gen,
            import_schema,
            statistics_gen,
            example_validator,
            data_gate,
            transform,
            *tuners.values(),
            *trainers.values(),
            *evaluators.values(),
            selector,
            gate,
            validator,
            pusher,
        ],
        enable_cache=True,
        metadata_connection_config=metadata_connection,
        beam_pipeline_args=list(beam_args),
    )


def _tuner(
    config: Config,
    candidate: Candidate,
    transform: Any,
    *,
    previous: StoredTrials | None,
    pods: bool,
    cache_root: str,
    checkpoints: str,
) -> Any:
    tuning = config.tuning
    assert tuning is not None
    # What does not bear on the search: with another value it is still answered from the cache.
    later = {"calibration": CalibrationConfig(), "ood": OodConfig()}
    budget = {"epochs": tuning.epochs, "early_stopping_patience": tuning.early_stopping_patience}
    training = candidate.training.model_copy(update=budget)
    candidate = candidate.model_copy(update={"training": training, **later})
    return _with_code_digest(
        KnetTuner(
            examples=transform.outputs["transformed_examples"],
            candidate=candidate.model_dump_json(),
            tuning=tuning.model_dump_json(),
            cache_root=cache_root,
            searches=f"{checkpoints}/searches",
            previous_trials=str(previous.file) if previous else "",
            previous_digest=previous.digest if previous else "",
            pods=pods,
        ).with_id(config.tuner_id(candidate.name)),
        "components.knet_tuner.executor",
        weights=_weights_digest(candidate),
    )


def _trainer(candidate: Candidate, transform: Any, tuner: Any, **further: str) -> Any:
    return _with_code_digest(
        Trainer(
            run_fn="knet.training.trainer.run_fn",
            hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
            custom_config={"candidate": candidate.model_dump_json(), **further},
            examples=transform.outputs["transformed_examples"],
            transform_graph=transform.outputs["transform_graph"],
            train_args=trainer_pb2.TrainArgs(splits=["train"]),
            eval_args=trainer_pb2.EvalArgs(splits=["validation"]),
        ).with_id(f"Trainer-{candidate.name}"),
        "knet.training.trainer",
        weights=_weights_digest(candidate),
    )


def _evaluator(name: str, model: Any, examples: Any, schema: Any, *, slices: Sequence[str]) -> Any:
    return _with_code_digest(
        KnetEvaluator(candidate=name, model=model, examples=examples, schema=schema, slices=slices).with_id(
            f"Evaluator-{name}"
        ),
        "components.knet_evaluator.executor",
    )


def _with_code_digest(node: BaseComponent, module: str = "knet.base.schema_names", **digests: str) -> Any:
    """Puts a digest of the node's code, and of files it reads, into its execution properties.

    TFX's cache key sees neither, and would answer from before an edit. Nodes without code of ours are
    stamped too, with the library versions that every code digest holds.
    """
    digests["code"] = code_digest(module)
    for name, digest in digests.items():
        node.spec.exec_properties[f"{name}_digest"] = digest
    return node


def _weights_digest(candidate: Candidate) -> str:
    """Of the weights file; `imagenet` and `none` are names of something that does not change."""
    file = candidate.settings.weights_file
    return file_digest(file) if file else candidate.settings.weights


# It says whether a run may go on, and hands nothing on; what it compares with changes from run to run.
_LEFT_OUT: Final = "DataGate"


def graph_digest(pipeline: Pipeline) -> str:
    """The SHA-256 of every node's settings, which hold the digests of data, code and files."""
    nodes = {
        node.id: {name: str(value) for name, value in node.exec_properties.items()}
        for node in pipeline.components
        if node.id != _LEFT_OUT
    }
    return text_digest(json.dumps(nodes, sort_keys=True))
