"""The Dockerfile keeps the rules of hadolint and checkov, and copies what there is."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_REPOSITORY = Path(__file__).resolve().parents[1]
_DOCKERFILE = _REPOSITORY / "Dockerfile"
_EXCEPTIONS = {"DL3008"}  # each stands in the Dockerfile with its reason


@pytest.fixture(scope="module")
def checked(tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The checks of checkov that fail: of the Dockerfile, and of one whose user is root and always well."""
    folder = tmp_path_factory.mktemp("docker")
    text = _DOCKERFILE.read_text("utf-8")
    (folder / "Dockerfile").write_text(text, "utf-8")
    (folder / "bad").mkdir()
    bad = re.sub(r"^(USER|HEALTHCHECK) .*\n", "", text, flags=re.M)
    (folder / "bad" / "Dockerfile").write_text(bad, "utf-8")
    options = ["--skip-download", "--framework", "dockerfile", "--output", "json", "-d", str(folder)]
    done = subprocess.run(
        [str(tool("checkov")), *options],
        env={**os.environ, "BC_SKIP_MAPPING": "TRUE"},
        capture_output=True,
        text=True,
        check=False,
    )
    results = json.loads(done.stdout)["results"]
    seen = {check["file_path"] for check in results["passed_checks"]}
    assert seen == {"/Dockerfile", "/bad/Dockerfile"}
    assert not results["skipped_checks"]
    failed: dict[str, set[str]] = {name: set() for name in seen}
    for check in results["failed_checks"]:
        failed[check["file_path"]].add(check["check_id"])
    return failed


def hadolint(tool: Callable[[str], Path], text: str, *options: str) -> list[dict[str, Any]]:
    command = [str(tool("hadolint")), "--format", "json", *options, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_checkov_finds_nothing(checked: dict[str, set[str]]) -> None:
    assert checked["/Dockerfile"] == set()


def test_checkov_would_find_a_missing_user_and_health_check(checked: dict[str, set[str]]) -> None:
    assert checked["/bad/Dockerfile"] == {"CKV_DOCKER_2", "CKV_DOCKER_3"}


def test_hadolint_finds_only_what_the_file_excuses(tool: Callable[[str], Path]) -> None:
    text = _DOCKERFILE.read_text("utf-8")
    assert hadolint(tool, text) == []
    unexcused = hadolint(tool, text, "--disable-ignore-pragma")
    assert {found["code"] for found in unexcused} == _EXCEPTIONS


def test_an_excuse_has_a_reason_above_it() -> None:
    lines = _DOCKERFILE.read_text("utf-8").splitlines()
    excuses = [number for number, line in enumerate(lines) if "hadolint ignore" in line]
    assert excuses
    for number in excuses:
        assert set(re.findall(r"[A-Z]+\d+", lines[number])) <= _EXCEPTIONS
        assert lines[number - 1].startswith("# ")


def test_what_is_copied_is_there_and_sent() -> None:
    sent = set(re.findall(r"^!(.+)$", (_REPOSITORY / ".dockerignore").read_text("utf-8"), flags=re.M))
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", _DOCKERFILE.read_text("utf-8"), flags=re.M)
    sources = {source for line in copied for source in line.split()}
    assert {"pipeline", "components", "schemas", "knet"} <= sources
    for source in sources:
        assert list(_REPOSITORY.glob(source)), source
        assert source.partition("/")[0] in sent
