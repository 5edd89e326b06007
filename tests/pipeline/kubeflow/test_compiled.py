"""Reading compiled pipelines, and parameters of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knet.base.errors import UserError
from pipeline.config.load import load_config
from pipeline.kubeflow.compiled import compiled_config, read_compiled, run_parameters


def test_read_compiled_returns_the_pipeline_spec(compiled: Callable[..., Path]) -> None:
    assert read_compiled(compiled())["pipelineInfo"] == {"name": "knet-demo"}


@pytest.mark.parametrize("content", [b"", b"a: 1", b"- [", b"\xff\xfe", b"text"])
def test_read_compiled_refuses_other_files(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match="is no compiled pipeline"):
        read_compiled(file)


def test_read_compiled_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read .*: No such file"):
        read_compiled(tmp_path / "missing.yaml")


def _graph(config: str) -> dict[str, Any]:
    inputs = {"parameters": {"config": {"runtimeValue": {"constant": config}}}}
    return {"components": {"Graph": {"dag": {"tasks": {"RunStart": {"inputs": inputs}}}}}}


def test_compiled_config_is_that_of_the_compilation() -> None:
    config = load_config("production", ["seed=7"])
    assert compiled_config(_graph(config.model_dump_json()), Path("a.yaml")) == config


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"components": {}}, "a.yaml is no compiled pipeline"),
        (_graph('{"sead": 7}'), "a.yaml: the setting sead is not one of this version; compile"),
    ],
)
def test_compiled_config_refuses_other_pipelines(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compiled_config(spec, Path("a.yaml"))


_TYPES = {
    "data_source": "STRING",
    "seed": "NUMBER_INTEGER",
    "rate": "NUMBER_DOUBLE",
    "candidates": "LIST",
    "search": "BOOLEAN",
    "training": "STRUCT",
}
_SPEC: dict[str, Any] = {
    "root": {"inputDefinitions": {"parameters": {n: {"parameterType": t} for n, t in _TYPES.items()}}}
}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("data_source=s3://bucket/a=b", "s3://bucket/a=b"),
        ("data_source=7", "7"),
        ("data_source=", ""),
        ("seed=7", 7),
        ("rate=0.5", 0.5),
        ("rate=1", 1),
        ("candidates=[vgg16, resnet50]", ["vgg16", "resnet50"]),
        ("search=false", False),
        ("training={epochs: 3}", {"epochs": 3}),
    ],
)
def test_run_parameters_have_declared_types(given: str, value: Any) -> None:
    assert run_parameters(_SPEC, [given]) == {given.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("seed", "write it as name=value"),
        ("sead=7", "no such parameter; there are candidates, data_source, rate"),
        ("seed=many", "must be a number integer"),
        ("seed=1.5", "must be a number integer"),
        ("seed=true", "must be a number integer"),
        ("candidates=vgg16", "must be a list"),
        ("training=[", "must be a struct"),
    ],
)
def test_run_parameters_refuse_invalid_values(given: str, message: str) -> None:
    with pytest.raises(UserError, match=f"--param {given.partition('=')[0]}.*{message}"):
        run_parameters(_SPEC, [given])


def test_run_parameters_of_a_pipeline_without_any() -> None:
    assert run_parameters({"root": {}}, []) == {}
