"""The TFX graph, from images to a pushed model; runners only run it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from components.local_runner import TWO_PROCESSES_FROM, two_processes_from
from components.model_gate.component import ModelGate
from components.model_selector.component import ModelSelector
from components.serving_validator.component import ServingValidator
from knet.base import node_ids, schema_names
from knet.base.digests import code_digest, file_digest, text_digest
from knet.models.backbones import backbone_digest
from knet.models.settings import CalibrationConfig, OodConfig
from knet.runs.registry import PriorState, StoredPredictions, StoredStatistics, StoredTrials
from knet.training.candidate import Candidate
from pipeline.config.candidate import candidate_from_config
from pipeline.config.config import Config


@dataclass(frozen=True)
class DataRef:
    """The data and the schema of a run, as the machine that runs the nodes sees them.

    Attributes:
        source: folder, archive or manifest.
        root: folder that a manifest's paths are relative to; empty without a manifest.
        schema_file: the curated schema.
        schema_digest: SHA-256 of its content; empty where it is known only when the graph runs.
        fingerprint: of the images and their names; empty where it is known only when the graph runs.
        digests: file of the digests behind the fingerprint; empty if there is none.
        split_sha256: of the frozen split; empty where it is known only when the graph runs.
        span: number of this content among those seen so far, from 1; 0 where it is not known yet.
        synthetic: whether the images are the synthetic samples, which models and reports then state.
    """

    source: str
    root: str
    schema_file: str
    schema_digest: str = ""
    fingerprint: str = ""
    digests: str = ""
    split_sha256: str = ""
    span: int = 0
    synthetic: bool = False


@dataclass(frozen=True)
class PipelinePaths:
    """Folders of a pipeline, local paths or URIs, the same for every run.

    Attributes:
        artifacts: the pipeline root, which nodes write their artifacts below.
        served: the folder that TF Serving watches for versions of the model.
        checkpoints: state of unfinished trainings and searches.
        feature_cache: feature maps of frozen backbone blocks.
    """

    artifacts: str
    served: str
    checkpoints: str
    feature_cache: str


def create_pipeline(
    config: Config,
    data: DataRef,
    paths: PipelinePaths,
    prior: PriorState | None = None,
    *,
    tuner_pod_hours: int = 0,
    beam_args: Sequence[str] = (),
    metadata_connection: Any = None,
) -> Pipeline:
    """Build the graph, for any runner.

    Args:
        config: the experiment; `data.slices` must be set (`Config.with_slices`).
        data: the data and their schema.
        paths: the folders of the pipeline.
        prior: results of earlier runs to compare with and to start from. None: no earlier run.
        tuner_pod_hours: longest wait for a sign of the pods that run the trials. 0: the Tuner runs them.
        beam_args: options of every Beam pipeline.
        metadata_connection: an MLMD `ConnectionConfig`. None: the runner has its own store.
    """
    prior = prior or PriorState()
    example_gen = _example_gen(config, data)
    schema_gen = _with_code_digest(ImportSchemaGen(schema_file=data.schema_file), schema=data.schema_digest)
    examples, schema = example_gen.outputs["examples"], schema_gen.outputs["schema"]
    statistics_gen = _with_code_digest(StatisticsGen(examples=examples, schema=schema))
    statistics = statistics_gen.outputs["statistics"]
    example_validator = _with_code_digest(ExampleValidator(statistics=statistics, schema=schema))
    data_gate = _data_gate(config, example_validator, statistics, schema, prior.statistics)

    candidates: dict[str, Candidate] = {
        name: candidate_from_config(config, name, synthetic_data=data.synthetic) for name in config.candidates
    }
    sizes = {config.transform_id(name): candidate.image.size for name, candidate in candidates.items()}
    transforms = {node: _transform(node, size, examples, schema) for node, size in sizes.items()}
    for transform in transforms.values():
        transform.add_upstream_node(data_gate)  # nothing below starts before the data have passed
    inputs = {name: transforms[config.transform_id(name)] for name in candidates}
    tuners: dict[str, Any] = {
        name: _tuner(
            config, candidates[name], inputs[name], paths, prior.trials.get(name), pod_hours=tuner_pod_hours
        )
        for name in config.searched_candidates
    }
    shared_tuner = next(iter(tuners.values()), None)
    trainers: dict[str, Any] = {
        name: _trainer(config, candidate, inputs[name], tuners.get(name, shared_tuner), data, paths)
        for name, candidate in candidates.items()
    }
    evaluators: dict[str, Any] = {
        name: _evaluator(config, name, trainer, examples, schema) for name, trainer in trainers.items()
    }

    selector = _model_selector(config, trainers, evaluators)
    model_gate = _model_gate(config, selector, prior.baseline)
    serving_validator = _serving_validator(selector, trainers, model_gate, examples)
    pusher = _pusher(selector, model_gate, serving_validator, paths)
    components = [
        example_gen,
        schema_gen,
        statistics_gen,
        example_validator,
        data_gate,
        *transforms.values(),
        *tuners.values(),
        *trainers.values(),
        *evaluators.values(),
        selector,
        model_gate,
        serving_validator,
        pusher,
    ]
    for component in components:
        if options := _beam_options(config, node_ids.kind(component.id)):
            component.with_beam_pipeline_args(options)
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=paths.artifacts,
        components=components,
        enable_cache=True,
        metadata_connection_config=metadata_connection,
        beam_pipeline_args=list(beam_args),
    )


def _beam_options(config: Config, kind: str) -> list[str]:
    """Return the options of the Beam pipelines of a kind of node, after those of all."""
    beam = config.beam
    options = [option for name, own in beam.components.items() if name == kind for option in own]
    if beam.workers == "auto" and not beam.names_runner and kind in TWO_PROCESSES_FROM:
        options.insert(0, two_processes_from(TWO_PROCESSES_FROM[kind]))
    return options


def _example_gen(config: Config, data: DataRef) -> Any:
    split_file = config.data.split.file
    return _with_code_digest(
        BreakHisExampleGen(
            data_source=data.source,
            data_root=data.root,
            fingerprint=data.fingerprint,
            digests=data.digests,
            span=data.span,
            max_invalid_fraction=config.data.max_invalid_fraction,
            allow_cross_split_duplicates=config.data.allow_cross_split_duplicates,
            split=config.split_settings,
            keep_duplicate_slides=config.data.keep_duplicate_slides,
            seed=config.seed,
        ),
        "components.breakhis_example_gen.executor",
        split_file=file_digest(split_file) if split_file else "",
    )


def _data_gate(
    config: Config, example_validator: Any, statistics: Any, schema: Any, previous: StoredStatistics | None
) -> Any:
    return _with_code_digest(
        DataGate(
            anomalies=example_validator.outputs["anomalies"],
            statistics=statistics,
            schema=schema,
            classes=config.data.classes,
            previous_statistics=str(previous.folder) if previous else "",
            previous_digest=previous.digest if previous else "",
        ),
        "components.data_gate.executor",
    )


def _transform(node: str, size: int, examples: Any, schema: Any) -> Any:
    return _with_code_digest(
        Transform(
            examples=examples,
            schema=schema,
            preprocessing_fn="knet.training.preprocessing.preprocessing_fn",
            custom_config={"image_size": size},
            disable_statistics=True,  # they would be of serialised pixels
        ).with_id(node),
        "knet.training.preprocessing",
    )


def _tuner(
    config: Config,
    candidate: Candidate,
    transform: Any,
    paths: PipelinePaths,
    previous: StoredTrials | None,
    *,
    pod_hours: int,
) -> Any:
    assert config.tuning is not None
    tuning = config.tuning.for_optimizer(candidate.training.optimizer)
    budget = {"epochs": tuning.epochs, "early_stopping_patience": tuning.early_stopping_patience}
    candidate = candidate.model_copy(
        update={
            "training": candidate.training.model_copy(update=budget),
            # A search does not use these: with other values it is still answered from the cache.
            "calibration": CalibrationConfig(),
            "ood": OodConfig(),
        }
    )
    return _with_code_digest(
        KnetTuner(
            examples=transform.outputs["transformed_examples"],
            candidate=candidate.model_dump_json(),
            tuning=tuning.model_dump_json(),
            cache_root=paths.feature_cache,
            searches=f"{paths.checkpoints}/searches",
            previous_trials=str(previous.file) if previous else "",
            previous_digest=previous.digest if previous else "",
            pod_hours=pod_hours,
        ).with_id(config.tuner_id(candidate.name)),
        "components.knet_tuner.executor",
        **_file_digests(candidate),
    )


def _trainer(
    config: Config, candidate: Candidate, transform: Any, tuner: Any, data: DataRef, paths: PipelinePaths
) -> Any:
    settings = {
        "candidate": candidate.model_dump_json(),
        "cache_root": paths.feature_cache,
        "checkpoints": paths.checkpoints,
        # For the model card; where they change, the examples do too.
        "fingerprint": data.fingerprint,
        "split_sha256": data.split_sha256,
        "split_unit": config.data.split.unit,
    }
    return _with_code_digest(
        Trainer(
            run_fn="knet.training.trainer.run_fn",
            hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
            custom_config=settings,
            examples=transform.outputs["transformed_examples"],
            transform_graph=transform.outputs["transform_graph"],
            train_args=trainer_pb2.TrainArgs(splits=[schema_names.TRAIN]),
            eval_args=trainer_pb2.EvalArgs(splits=[schema_names.VALIDATION]),
        ).with_id(node_ids.trainer(candidate.name)),
        "knet.training.trainer",
        **_file_digests(candidate),
    )


def _evaluator(config: Config, name: str, trainer: Any, examples: Any, schema: Any) -> Any:
    evaluator = KnetEvaluator(
        candidate=name,
        model=trainer.outputs["model"],
        examples=examples,
        schema=schema,
        slices=config.data.slices or (),
    )
    return _with_code_digest(
        evaluator.with_id(node_ids.evaluator(name)), "components.knet_evaluator.executor"
    )


def _model_selector(config: Config, trainers: Mapping[str, Any], evaluators: Mapping[str, Any]) -> Any:
    return _with_code_digest(
        ModelSelector(
            models={name: trainer.outputs["model"] for name, trainer in trainers.items()},
            evaluations={name: evaluator.outputs["evaluation"] for name, evaluator in evaluators.items()},
            settings={
                **config.selection.model_dump(exclude={"require_all"}),  # which the runners apply
                "metric": config.selection_metric,
            },
            slices=config.data.slices or (),
            seed=config.seed,
        ),
        "components.model_selector.executor",
    )


def _model_gate(config: Config, selector: Any, baseline: StoredPredictions | None) -> Any:
    return _with_code_digest(
        ModelGate(
            evaluation=selector.outputs["evaluation"],
            rules=config.gate_rules,
            classes=config.data.classes,
            positive=config.data.positive or (),
            baseline=baseline,
            seed=config.seed,
        ),
        "components.model_gate.executor",
    )


def _serving_validator(selector: Any, trainers: Mapping[str, Any], model_gate: Any, examples: Any) -> Any:
    return _with_code_digest(
        ServingValidator(
            model=selector.outputs["model"],
            model_runs={name: trainer.outputs["model_run"] for name, trainer in trainers.items()},
            blessing=model_gate.outputs["blessing"],
            examples=examples,
        ),
        "components.serving_validator.executor",
    )


def _pusher(selector: Any, model_gate: Any, serving_validator: Any, paths: PipelinePaths) -> Any:
    filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=paths.served)
    return _with_code_digest(
        Pusher(
            model=selector.outputs["model"],
            model_blessing=model_gate.outputs["blessing"],
            infra_blessing=serving_validator.outputs["infra_blessing"],
            push_destination=pusher_pb2.PushDestination(filesystem=filesystem),
            custom_executor_spec=executor_spec.ExecutorClassSpec(PusherExecutor),
        ),
        "components.knet_pusher.executor",
    )


def _with_code_digest(node: BaseComponent, module: str = "knet.base.schema_names", **digests: str) -> Any:
    """Add digests of the node's code, and of the files it reads, to its execution properties.

    TFX's cache key covers neither, and would answer from the cache after an edit. Nodes without code of ours
    get the digest too, for the library versions that every code digest covers.
    """
    digests["code"] = code_digest(module)
    for name, digest in digests.items():
        node.spec.exec_properties[f"{name}_digest"] = digest
    return node


def _file_digests(candidate: Candidate) -> dict[str, str]:
    """Return the digests of the weights file, and of the package of a backbone by import path."""
    file = candidate.settings.weights_file
    digests = {"weights": file_digest(file) if file else candidate.settings.weights}  # a name never changes
    if package := backbone_digest(candidate.backbone):
        digests["backbone"] = package
    return digests


def graph_digest(pipeline: Pipeline) -> str:
    """Return the SHA-256 of every node's settings, which hold the digests of data, code and files.

    DataGate is left out: it has no outputs, and its baseline changes from run to run.
    """
    nodes = {
        node.id: {name: str(value) for name, value in node.exec_properties.items()}
        for node in pipeline.components
        if node.id != node_ids.DATA_GATE
    }
    return text_digest(json.dumps(nodes, sort_keys=True))
