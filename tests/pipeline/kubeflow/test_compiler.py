"""The compiled pipeline, and the edits that complete TFX's PipelineSpec."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp.client import client

from knet.base.errors import UserError
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.kubeflow.compiler import compile_pipeline, complete_spec


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("compiled") / "new" / "pipeline.yaml"
    compile_pipeline(load_config("demo"), output)
    return output


@pytest.fixture(scope="module")
def spec(compiled: Path) -> dict[str, Any]:
    document: dict[str, Any] = next(yaml.safe_load_all(compiled.read_text("utf-8")))
    return document


def test_compile_pipeline_is_reproducible(compiled: Path, tmp_path: Path) -> None:
    compile_pipeline(load_config("demo"), tmp_path / "pipeline.yaml")
    assert (tmp_path / "pipeline.yaml").read_bytes() == compiled.read_bytes()


def test_kfp_client_accepts_the_compiled_file(compiled: Path) -> None:
    # The client parses a file so before it uploads it.
    document = client._extract_pipeline_yaml(str(compiled))
    assert document.pipeline_spec.pipeline_info.name == "knet-demo"
    executors = document.platform_spec.platforms["kubernetes"].deployment_spec.executors
    assert set(executors) == set(document.pipeline_spec.deployment_spec["executors"])


@pytest.fixture(scope="module")
def tasks(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the tasks of the graph."""
    found: dict[str, Any] = spec["components"]["Graph"]["dag"]["tasks"]
    return found


def test_containers_start_the_entrypoint_or_run_nodes(spec: dict[str, Any]) -> None:
    own = {f"{node}_executor": ["run_nodes", node] for node in ("RunStart", "RunReport", "RunEnd")}
    for name, executor in spec["deploymentSpec"]["executors"].items():
        module, *node = own.get(name, ["entrypoint"])
        assert executor["container"]["command"] == ["python", "-m", f"pipeline.kubeflow.{module}", *node]


def test_schema_version_is_2_1_0(spec: dict[str, Any]) -> None:
    assert spec["schemaVersion"] == "2.1.0"


def test_task_names_are_valid_for_argo(tasks: dict[str, Any]) -> None:
    assert len(tasks) == 23
    assert all(re.fullmatch(r"[a-zA-Z0-9][-a-zA-Z0-9]*", name) for name in tasks)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Tasks of a graph with two candidates of one backbone, one of which has its own settings."""
    output = tmp_path_factory.mktemp("named") / "pipeline.yaml"
    own = "{backbone: vgg16, image: {size: 96}, training: {epochs: 7}}"
    candidates = f"candidates={{deep_one: {own}, wide: {{backbone: vgg16}}}}"
    compile_pipeline(load_config("demo", [candidates, "tuning.scope=candidate"]), output)
    document = next(yaml.safe_load_all(output.read_text("utf-8")))
    found: dict[str, Any] = document["components"]["Graph"]["dag"]["tasks"]
    return found


def test_tasks_of_named_candidates_are_valid_for_argo(named: dict[str, Any]) -> None:
    kinds = ("Tuner", "Trainer", "Evaluator")
    expected = {f"{kind}-{name}" for kind in kinds for name in ("deep-one", "wide")}
    assert expected | {"Transform", "Transform-96"} <= set(named)
    assert all(re.fullmatch(r"[a-zA-Z0-9][-a-zA-Z0-9]*", name) for name in named)


def test_candidate_is_trained_on_images_of_its_own_size(named: dict[str, Any]) -> None:
    for kind in ("Tuner", "Trainer"):
        for name, transform in (("deep-one", "Transform-96"), ("wide", "Transform")):
            source = named[f"{kind}-{name}"]["inputs"]["artifacts"]["examples"]["taskOutputArtifact"]
            assert source["producerTask"] == transform
    for transform in ("Transform", "Transform-96"):
        assert "DataGate" in named[transform]["dependentTasks"]


def test_epochs_of_the_run_leave_a_candidate_its_own(named: dict[str, Any]) -> None:
    field = "custom_config.candidate.training.epochs"
    assert field not in named["Trainer-deep-one"]["inputs"]["parameters"]
    assert named["Trainer-wide"]["inputs"]["parameters"][field] == {"componentInputParameter": "epochs"}


def test_package_of_a_backbone_is_in_the_cache_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mynets.py").write_text("import keras\nbuild = keras.applications.MobileNetV2\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    own = ("candidates={deep: {backbone: 'mynets:build', weights: none}, vgg16: {}}", "image.size=32")
    found = []
    for text in ("", "# edited\n"):
        with (tmp_path / "mynets.py").open("a", encoding="utf-8") as file:
            file.write(text)
        compile_pipeline(load_config("demo", own), tmp_path / "pipeline.yaml")
        document = next(yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text("utf-8")))
        tasks = document["components"]["Graph"]["dag"]["tasks"]
        assert "backbone_digest" not in tasks["Trainer-vgg16"]["inputs"]["parameters"]
        found.append(
            [tasks[name]["inputs"]["parameters"]["backbone_digest"] for name in ("Tuner", "Trainer-deep")]
        )
    assert all(before != after for before, after in zip(*found, strict=True))


def test_search_starts_from_the_trials_of_its_candidate(named: dict[str, Any]) -> None:
    source = named["Tuner-deep-one"]["inputs"]["parameters"]["previous_trials"]["taskOutputParameter"]
    assert source["outputParameterKey"] == "trials_deep_one"


def test_transform_waits_for_the_data_gate(tasks: dict[str, Any]) -> None:
    assert "DataGate" in tasks["Transform"]["dependentTasks"]


def test_compiled_spec_has_no_local_paths(spec: dict[str, Any]) -> None:
    assert str(Path(__file__).resolve().parents[3]) not in yaml.safe_dump(spec)


def test_cached_nodes_have_a_code_digest(tasks: dict[str, Any]) -> None:
    cached = {name: task for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")}
    assert set(tasks) - set(cached) == {"RunStart", "RunReport"}
    assert all("code_digest" in task["inputs"]["parameters"] for task in cached.values())


def test_compile_pipeline_needs_slices_of_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"kubeflow\.data_source is a manifest"):
        compile_pipeline(load_config("demo", ["kubeflow.data_source=/data/m.csv"]), tmp_path / "none.yaml")


_KUBEFLOW = {
    "data_source": "/data/images",
    "env": {"B": "2", "A": "1"},
    "retries": 3,
    "volumes": [{"claim": "images", "mount_path": "/data"}],
    "secrets": [{"name": "store", "env": {"accesskey": "AWS_ACCESS_KEY_ID"}}],
    "image_pull_secrets": ["registry"],
    "resources": {
        "Trainer": {
            "image": "knet:1.0-cuda",
            "env": {"B": "3", "C": "4"},
            "cpu": 8,
            "cpu_request": 2.5,
            "memory_gb": 32,
            "memory_request_gb": 16,
            "gpus": 1,
            "shared_memory_gb": 4,
            "node_selector": {"gpu": "a100"},
            "tolerations": [{"key": "gpu", "effect": "NoSchedule"}],
        },
        "Trainer-resnet152": {"gpus": 2, "cache": False},
    },
}


def _compiled() -> dict[str, Any]:
    """Return a minimal PipelineSpec in the form of TFX."""

    def parameters(*names: str) -> dict[str, Any]:
        return {"parameters": {name: {"runtimeValue": {"constant": ""}} for name in names}}

    nodes = {
        "BreakHisExampleGen": parameters("data_source", "data_root", "fingerprint", "seed"),
        "ImportSchemaGen": parameters("schema_file", "schema_digest"),
        "DataGate": parameters("previous_statistics", "previous_digest"),
        "ModelSelector": parameters("seed"),
        "ModelGate": parameters("seed", "baseline", "baseline_digest", "baseline_version"),
        "Trainer-vgg16": {},
        "Trainer-resnet152": {},
    }
    return {
        "root": {
            "dag": {
                "tasks": {
                    name: {
                        "componentRef": {"name": name},
                        "inputs": inputs,
                        "dependentTasks": [],
                        "cachingOptions": {"enableCache": True},
                    }
                    for name, inputs in nodes.items()
                }
            }
        },
        "components": {
            name: {
                "executorLabel": f"{name}_executor",
                "outputDefinitions": {"artifacts": {"model": {"artifactType": {"instanceSchema": name}}}},
            }
            for name in nodes
        },
        "deploymentSpec": {
            "executors": {
                f"{name}_executor": {
                    "container": {"image": "x", "args": ["--json_serialized_inputs_spec_args", "{}"]}
                }
                for name in nodes
            }
        },
    }


def _config(**kubeflow: Any) -> Config:
    return Config.model_validate({"kubeflow": {**_KUBEFLOW, **kubeflow}})


@pytest.fixture(scope="module")
def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    return complete_spec(_compiled(), _config())


def _pod(documents: tuple[dict[str, Any], dict[str, Any]], node: str) -> dict[str, Any]:
    pod: dict[str, Any] = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][
        f"{node}_executor"
    ]
    return pod


def test_complete_spec_leaves_its_argument_unchanged() -> None:
    compiled = _compiled()
    complete_spec(compiled, _config())
    assert compiled == _compiled()


def _tasks(documents: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """Return the tasks of the graph, and its exit handler."""
    spec = documents[0]
    return {**spec["components"]["Graph"]["dag"]["tasks"], "RunEnd": spec["root"]["dag"]["tasks"]["RunEnd"]}


def test_cached_nodes_have_the_cache_generation_of_run_start(tasks: dict[str, Any]) -> None:
    generation = {
        "taskOutputParameter": {"producerTask": "RunStart", "outputParameterKey": "cache_generation"}
    }
    for task in tasks.values():
        if task.get("cachingOptions", {}).get("enableCache"):
            assert task["inputs"]["parameters"]["cache_generation"] == generation


def test_run_start_is_first_and_never_cached(documents: tuple[Any, Any]) -> None:
    tasks = _tasks(documents)
    assert tasks["BreakHisExampleGen"]["inputs"]["parameters"]["fingerprint"] == {
        "taskOutputParameter": {"producerTask": "RunStart", "outputParameterKey": "fingerprint"}
    }
    assert tasks["BreakHisExampleGen"]["dependentTasks"] == ["RunStart"]
    assert "cachingOptions" not in tasks["RunStart"]
    container = documents[0]["deploymentSpec"]["executors"]["RunStart_executor"]["container"]
    assert container["image"] == "x" and container["args"] == ["--executor_input", "{{$}}"]


def test_prior_state_is_wired_as_parameters(documents: tuple[Any, Any]) -> None:
    def found(node: str) -> dict[str, str]:
        given = _tasks(documents)[node]["inputs"]["parameters"]
        outputs = {name: value.get("taskOutputParameter") for name, value in given.items()}
        return {name: output["outputParameterKey"] for name, output in outputs.items() if output}

    state = {"previous_statistics", "previous_digest", "synthetic_data"}
    baseline = {"baseline", "baseline_digest", "baseline_version"}
    assert set(found("DataGate").values()) == {*state, "cache_generation"}
    assert set(found("ModelGate").values()) == {*baseline, "cache_generation"}
    assert set(found("ImportSchemaGen").values()) == {"schema_digest", "cache_generation"}


def test_run_parameters_have_defaults_and_lead_to_nodes(documents: tuple[Any, Any]) -> None:
    defined = documents[0]["root"]["inputDefinitions"]["parameters"]
    defaults = {name: definition["defaultValue"] for name, definition in defined.items()}
    assert defaults == {
        "data_source": "/data/images",
        "data_root": "",
        "registry": "/data/registry",
        "seed": 0,
        "epochs": 200,
        "cache": True,
        "confirmed": False,
        "note": "",
        "tags": [],
    }
    for node, name, parameter in (
        ("RunStart", "data_source", "data_source"),
        ("BreakHisExampleGen", "data_source", "data_source"),
        ("BreakHisExampleGen", "split.seed", "seed"),
        ("Trainer-vgg16", "custom_config.candidate.seed", "seed"),
        ("Trainer-vgg16", "custom_config.candidate.training.epochs", "epochs"),
        ("RunEnd", "registry", "registry"),
    ):
        given = _tasks(documents)[node]["inputs"]["parameters"][name]
        assert given == {"componentInputParameter": parameter}
    graph = documents[0]["components"]["Graph"]["inputDefinitions"]["parameters"]
    passed = documents[0]["root"]["dag"]["tasks"]["Graph"]["inputs"]["parameters"]
    assert set(graph) == set(passed) == set(defaults)


def test_added_parameters_are_in_the_inputs_argument(documents: tuple[Any, Any]) -> None:
    container = documents[0]["deploymentSpec"]["executors"]["Trainer-vgg16_executor"]["container"]
    index = container["args"].index("--json_serialized_inputs_spec_args") + 1
    types = json.loads(container["args"][index])["parameters"]
    assert types["custom_config.candidate.seed"] == {"parameterType": "NUMBER_INTEGER"}


def test_outputs_are_in_the_outputs_argument(documents: tuple[Any, Any]) -> None:
    args = documents[0]["deploymentSpec"]["executors"]["DataGate_executor"]["container"]["args"]
    outputs = json.loads(args[args.index("--json_serialized_outputs_spec_args") + 1])
    assert outputs == {"artifacts": {"model": {"artifactType": {"instanceSchema": "DataGate"}}}}


def test_artifacts_of_the_web_interface_are_declared_for_the_launcher(documents: tuple[Any, Any]) -> None:
    components = documents[0]["components"]
    html = {"artifactType": {"schemaTitle": "system.HTML", "schemaVersion": "0.0.1"}}
    assert components["DataGate"]["outputDefinitions"]["artifacts"]["data_page"] == html
    assert components["Trainer-vgg16"]["outputDefinitions"]["artifacts"]["learning_curves"] == html
    assert "DataGate--data_page" not in _tasks(documents)["RunReport"]["inputs"]["artifacts"]
    report = components["RunReport"]["outputDefinitions"]["artifacts"]
    assert {name: spec["artifactType"]["schemaTitle"] for name, spec in report.items()} == {
        "report": "system.HTML",
        "metrics": "system.Metrics",
        "test_metrics": "system.ClassificationMetrics",
    }


def test_artifacts_of_run_report_are_outputs_of_the_graph(documents: tuple[Any, Any]) -> None:
    graph = documents[0]["components"]["Graph"]
    assert set(graph["outputDefinitions"]["artifacts"]) == {"report", "metrics", "test_metrics"}
    selector = {"producerSubtask": "RunReport", "outputArtifactKey": "metrics"}
    assert graph["dag"]["outputs"]["artifacts"]["metrics"] == {"artifactSelectors": [selector]}


def test_run_report_has_all_artifacts_and_is_never_cached(
    documents: tuple[Any, Any],
) -> None:
    report = _tasks(documents)["RunReport"]
    artifacts = report["inputs"]["artifacts"]
    assert artifacts["Trainer-vgg16--model"] == {
        "taskOutputArtifact": {"producerTask": "Trainer-vgg16", "outputArtifactKey": "model"}
    }
    assert "ModelSelector--model" not in artifacts  # a copy
    assert "RunStart" in report["dependentTasks"] and "cachingOptions" not in report


def test_run_end_is_an_exit_handler_without_artifacts(
    documents: tuple[Any, Any],
) -> None:
    end = _tasks(documents)["RunEnd"]
    assert end["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert end["dependentTasks"] == ["Graph"] and set(end["inputs"]) == {"parameters"}


def test_resources_of_a_node_precede_those_of_its_kind(documents: tuple[Any, Any]) -> None:
    executors = documents[0]["deploymentSpec"]["executors"]
    vgg16 = executors["Trainer-vgg16_executor"]["container"]["resources"]
    assert vgg16 == {
        "cpuLimit": 8,
        "cpuRequest": 2.5,
        "memoryLimit": 32,
        "memoryRequest": 16,
        "accelerator": {"type": "nvidia.com/gpu", "count": "1"},
    }
    resnet152 = executors["Trainer-resnet152_executor"]["container"]["resources"]
    assert resnet152["accelerator"]["count"] == "2"
    assert resnet152["memoryLimit"] == resnet152["memoryRequest"] == 8
    assert "accelerator" not in executors["BreakHisExampleGen_executor"]["container"]["resources"]


def test_every_node_has_environment_volumes_secrets_retries(
    documents: tuple[Any, Any],
) -> None:
    for node, task in _tasks(documents).items():
        container = documents[0]["deploymentSpec"]["executors"][f"{node}_executor"]["container"]
        assert {"name": "A", "value": "1"} in container["env"]
        assert task["retryPolicy"]["maxRetryCount"] == 3
        pod = _pod(documents, node)
        assert pod["pvcMount"] == [{"constant": "images", "mountPath": "/data"}]
        keys = [{"secretKey": "accesskey", "envVar": "AWS_ACCESS_KEY_ID"}]
        assert pod["secretAsEnv"] == [{"secretName": "store", "keyToEnv": keys}]
        assert pod["imagePullSecret"] == [{"secretName": "registry"}]


def test_resources_set_image_and_variables_of_a_node(documents: tuple[Any, Any]) -> None:
    executors = documents[0]["deploymentSpec"]["executors"]
    trainer = executors["Trainer-vgg16_executor"]["container"]
    assert trainer["image"] == "knet:1.0-cuda"
    assert trainer["env"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "3"},
        {"name": "C", "value": "4"},
        {"name": "KNET_MAY_FAIL", "value": "1"},
        {"name": "KNET_NODE", "value": "Trainer-vgg16"},
        {"name": "KNET_REGISTRY", "value": "/data/registry"},
    ]
    ingest = executors["BreakHisExampleGen_executor"]["container"]
    assert ingest["image"] == "x" and {"name": "B", "value": "2"} in ingest["env"]


@pytest.mark.parametrize("require_all", [False, True])
def test_nodes_of_a_candidate_may_fail_unless_all_are_required(require_all: bool) -> None:
    config = Config.model_validate({"selection": {"require_all": require_all}})
    executors = complete_spec(_compiled(), config)[0]["deploymentSpec"]["executors"]
    may_fail = {
        name
        for name, executor in executors.items()
        if any(variable["name"] == "KNET_MAY_FAIL" for variable in executor["container"]["env"])
    }
    candidates = {name for name in executors if "-" in name}
    assert candidates and may_fail == (set() if require_all else candidates)


def test_run_end_alone_has_the_settings_of_notifications() -> None:
    kubeflow = {
        "host": "https://kubeflow.example.org",
        "env": {"KNET_NOTIFICATION_URL": "http://alertmanager:9093"},
        "notifications": {"receiver": "alertmanager"},
    }
    config = Config.model_validate({"name": "nightly", "kubeflow": kubeflow})
    executors = complete_spec(_compiled(), config)[0]["deploymentSpec"]["executors"]
    found = {
        name: json.loads(variable["value"])
        for name, executor in executors.items()
        for variable in executor["container"]["env"]
        if variable["name"] == "KNET_NOTIFICATIONS"
    }
    assert list(found) == ["RunEnd_executor"]
    assert found["RunEnd_executor"]["pipeline"] == "nightly"
    assert found["RunEnd_executor"]["settings"]["web_url"] == "https://kubeflow.example.org"


def test_resources_disable_the_cache_of_a_node(documents: tuple[Any, Any]) -> None:
    tasks = _tasks(documents)
    assert "cachingOptions" not in tasks["Trainer-resnet152"]
    assert tasks["Trainer-vgg16"]["cachingOptions"] == {"enableCache": True}


def test_resources_set_shared_memory_and_scheduling(documents: tuple[Any, Any]) -> None:
    pod = _pod(documents, "Trainer-vgg16")
    assert pod["nodeSelector"] == {"labels": {"gpu": "a100"}}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    (memory,) = pod["emptyDirMounts"]
    assert memory["mountPath"] == "/dev/shm" and memory["sizeLimit"] == "4Gi"
    assert "nodeSelector" not in _pod(documents, "BreakHisExampleGen")


def test_node_selectors_of_all_nodes_of_gpus_and_of_one_node_add_up() -> None:
    selectors = {"node_selector": {"zone": "a"}, "gpu_node_selector": {"product": "L4", "gpu": "any"}}
    documents = complete_spec(_compiled(), _config(**selectors))
    labels = {
        node: _pod(documents, node)["nodeSelector"]["labels"]
        for node in ("BreakHisExampleGen", "Trainer-vgg16", "Trainer-resnet152")
    }
    assert labels == {
        "BreakHisExampleGen": {"zone": "a"},
        "Trainer-vgg16": {"zone": "a", "product": "L4", "gpu": "a100"},
        "Trainer-resnet152": {"zone": "a", "product": "L4", "gpu": "any"},
    }


def test_shared_dir_is_set_for_nodes_with_remote_workers() -> None:
    volumes = [{"claim": "exchange", "mount_path": "/exchange"}]
    kubeflow = {"volumes": volumes, "shared_dir": "/exchange"}

    def sharing(config: Config) -> set[str]:
        executors = complete_spec(_compiled(), config)[0]["deploymentSpec"]["executors"]
        shared = {"name": "KNET_SHARED_DIR", "value": "/exchange"}
        return {name for name, executor in executors.items() if shared in executor["container"]["env"]}

    local = Config.model_validate({"kubeflow": kubeflow, "beam": {"args": ["--runner=DirectRunner"]}})
    assert sharing(local) == set()
    remote = Config.model_validate({"kubeflow": kubeflow, "beam": {"args": ["--runner=PortableRunner"]}})
    assert sharing(remote) == {"BreakHisExampleGen_executor"}
    with pytest.raises(UserError, match="^kubeflow.shared_dir: "):
        complete_spec(_compiled(), Config.model_validate({"beam": {"args": ["--runner=PortableRunner"]}}))


@pytest.mark.parametrize("name", ["Trainer_x", "Trainer.x", "-x", "x" * 64])
def test_complete_spec_refuses_invalid_node_names(name: str) -> None:
    compiled = _compiled()
    tasks = compiled["root"]["dag"]["tasks"]
    tasks[name] = tasks.pop("Trainer-vgg16")
    with pytest.raises(UserError, match=f"the node {name} cannot run on Kubeflow"):
        complete_spec(compiled, _config())


def test_complete_spec_refuses_resources_of_unknown_nodes() -> None:
    with pytest.raises(
        UserError, match=r"kubeflow.resources.Trainer-vgg: no such node; there are .*Trainer-vgg16"
    ):
        complete_spec(_compiled(), _config(resources={"Trainer-vgg": {}}))


@pytest.mark.parametrize(
    ("settings", "of"),
    [
        (["data.classes=[a, b, c]", "data.label=class"], "3 classes"),
        (["kubeflow.data_source=/data/manifest.csv", "data.slices=[]"], "a manifest"),
    ],
)
def test_compile_pipeline_refuses_the_bundled_schema_of_other_data(
    tmp_path: Path, settings: list[str], of: str
) -> None:
    with pytest.raises(UserError, match=rf"^kubeflow\.schema_file: .* two classes, not of {of}; write one"):
        compile_pipeline(load_config("demo", settings), tmp_path / "pipeline.yaml")
    compile_pipeline(
        load_config("demo", [*settings, "kubeflow.schema_file=/data/schema.pbtxt"]),
        tmp_path / "pipeline.yaml",
    )
