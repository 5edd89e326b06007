"""The manifests start what the code can run, and agree with each other and the configuration."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import KubeflowConfig

FOLDER = Path(__file__).resolve().parents[2] / "k8s" / "tuner"
NAMES = {"KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"}


def manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text("utf-8"))


def container(name: str) -> dict[str, Any]:
    (found,) = manifest(name)["spec"]["template"]["spec"]["containers"]
    return found


def environment(name: str) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container(name)["env"]}


def test_chief_and_workers_run_a_module_of_ours_on_the_checkpoints() -> None:
    for name in ("chief.yaml", "workers.yaml"):
        python, flag, module, folder = container(name)["command"]
        assert (python, flag) == ("python", "-m")
        assert importlib.util.find_spec(module) is not None
        assert folder == f"{KubeflowConfig().checkpoints}/searches"
        assert set(environment(name)) >= NAMES


def test_workers_find_the_chief_by_its_service() -> None:
    service, chief, workers = manifest("service.yaml"), environment("chief.yaml"), environment("workers.yaml")
    assert workers["KERASTUNER_ORACLE_IP"] == service["metadata"]["name"]
    (port,) = service["spec"]["ports"]
    assert str(port["port"]) == workers["KERASTUNER_ORACLE_PORT"] == chief["KERASTUNER_ORACLE_PORT"]
    labels = manifest("chief.yaml")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert manifest("workers.yaml")["spec"]["template"]["metadata"]["labels"] != labels
    assert "chief" in chief["KERASTUNER_TUNER_ID"]


def test_kustomization_names_every_manifest() -> None:
    others = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(manifest("kustomization.yaml")["resources"]) == others
