"""Tests of the alert rules with Prometheus' promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import knet.serving.monitoring

RULES = Path(knet.serving.monitoring.__file__).with_name("alerts.yaml")
CASES = Path(__file__).with_name("alerts_test.yaml")


@pytest.fixture
def promtool(debian_program: Callable[..., Path]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run promtool."""
    program = debian_program("promtool", package="--no-install-recommends prometheus")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(program), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_alert_rules_are_valid(promtool: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    checked = promtool("check", "rules", "--lint-fatal", RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "7 rules found" in checked.stdout


def test_alerts_fire_as_in_the_test_cases(
    promtool: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(CASES, tmp_path)
    tested = promtool("test", "rules", tmp_path / CASES.name)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_alert_cases_cover_every_alert() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]
    fired = {
        test["alertname"]
        for case in yaml.safe_load(CASES.read_text("utf-8"))["tests"]
        for test in case["alert_rule_test"]
        if test.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in rules}


def test_alert_rules_read_metrics_of_the_monitor() -> None:
    source = RULES.with_name("monitor.py").read_text("utf-8")
    read = set(re.findall(r"\bknet_monitor_\w+", RULES.read_text("utf-8").split("groups:")[1]))
    assert read and all(f'"{name}"' in source for name in read)
