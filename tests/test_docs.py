"""What the documentation tells to type is what the command line and the folders take."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from doc_manifests import doc_manifests

from pipeline.commands.main import cli
from pipeline.commands.run import command as run
from pipeline.config.config import Config
from pipeline.config.load import load_config

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "k8s").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
_BLOCK = re.compile(r"^```(?:ba)?sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MADE = "k8s/overlays/mine"  # by the commands before


def _commands(page: Path) -> list[list[str]]:
    """The words of every command, without comments, assignments before it and `&` behind it."""
    text = "\n".join(_BLOCK.findall(page.read_text("utf-8"))).replace("\\\n", " ")
    text = re.sub(r"<<'?END'?$.*?^END$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = (shlex.split(line, comments=True) for line in text.splitlines())
    return [[word for word in line if word != "&"] for line in lines if line]


def _knet(page: Path, *names: str) -> Iterator[Any]:
    """A parameter for every command of `knet`, or for those of some names: its arguments."""
    for command in _commands(page):
        if command[0] == "knet" and (not names or command[1] in names):
            yield pytest.param(command[1:], id=f"{page.name}: {' '.join(command)}")


KNET = [param for page in PAGES for param in _knet(page)]


@pytest.mark.parametrize("arguments", KNET)
def test_the_command_line_knows_the_command_and_its_options(arguments: list[str]) -> None:
    done = CliRunner().invoke(cli, [*arguments, "--help"])
    assert done.exit_code == 0, done.output


RUNS = [param for page in PAGES for param in _knet(page, "run")]
MAKES = [command for command in _commands(ROOT / "README.md") if command[:2] == ["make", "run"]]


def _configuration(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Config:
    """The configuration of a `knet run`; paths of the reader's machine are not looked at."""
    monkeypatch.chdir(ROOT)
    given = run.make_context("run", arguments[1:]).params
    candidates = [f"candidates={given['candidates']}"] if given["candidates"] else []
    return load_config(given["file"] or given["preset"], [*candidates, *given["overrides"]])


@pytest.mark.parametrize("arguments", RUNS)
def test_configuration_of_a_run_loads(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    config = _configuration(arguments, monkeypatch)
    for name, candidate in config.candidates.items():
        if candidate.weights != "none":  # ImageNet weights were trained at 128 pixels and more
            assert config.for_candidate(name).image.size >= 128


@pytest.mark.parametrize("words", MAKES, ids=" ".join)
def test_make_run_of_the_readme_loads(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the variables of a `make test ARGS=...` around it.
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = [words[0], "-n", *words[1:]]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    (line,) = (line for line in done.stdout.splitlines() if "knet run" in line)
    _configuration(shlex.split(line)[1:], monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_call_knet_by_its_name(page: Path) -> None:
    """The README activates the environment first."""
    assert ".venv/bin/knet" not in page.read_text("utf-8")


def test_an_option_that_there_is_not_is_found() -> None:
    assert CliRunner().invoke(cli, ["kubeflow", "status", "--lastest", "--help"]).exit_code != 0


def test_folders_and_files_that_commands_name_are_there() -> None:
    named = [
        word
        for page in PAGES
        for command in _commands(page)
        for word in command
        if re.match(r"(k8s|scripts|benchmarks|examples)/", word) and not word.startswith(_MADE)
    ]
    assert "k8s/tuner" in named
    assert [word for word in named if not (ROOT / word).exists()] == []


def test_objects_of_the_documentation_are_whole() -> None:
    """`make test-kubernetes` sends them to a real API server."""
    kinds = {page: [thing["kind"] for thing in things] for page, things in doc_manifests().items()}
    assert kinds == {"docs/clusters.md": ["LimitRange", "ConfigMap"], "docs/deployment.md": ["Pod"]}


def test_there_are_commands() -> None:
    assert len(KNET) > 10


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=str)
def test_relative_links_of_a_page_resolve(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "", page.read_text("utf-8"))
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_tests_that_reliability_names_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "reliability.md").read_text("utf-8"))
    assert len(named) > 20
    assert [test for file, test in named if f"def {test}(" not in (ROOT / file).read_text("utf-8")] == []
