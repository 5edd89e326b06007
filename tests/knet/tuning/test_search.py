"""Search on a fake objective: initial values, failures, resumption and several workers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knet.base.errors import UserError
from knet.base.progress import PROGRESS
from knet.tuning import search
from knet.tuning.plan import PLAN, SearchPlan
from knet.tuning.search import ENDED, find_active_search, run_search
from knet.tuning.trials import best_trial

METHODS = ("bayesian", "hyperband", "random", "grid")


def budget(method: str, trials: int = 12) -> tuple[str, ...]:
    return f"tuning.method={method}", f"tuning.trials={trials}", "tuning.epochs=9", "tuning.grid_points=3"


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_search_is_never_worse_than_the_papers_values(
    make_plan: Callable[..., SearchPlan], method: str
) -> None:
    @settings(max_examples=5)
    @given(st.floats(1e-5, 1.0), st.floats(0.0, 0.99), st.integers(0, 99))
    def check(rate: float, momentum: float, seed: int) -> None:
        best = {"learning_rate": rate, "momentum": momentum}
        with tempfile.TemporaryDirectory() as temporary:
            notes = Path(temporary) / "notes"
            plan = make_plan(*budget(method), f"seed={seed}", best=best, notes=str(notes))
            trials = run_search(plan, Path(temporary) / "search")
            first = notes.read_text("utf-8").splitlines()[0]
        assert first == "alone 9"  # all epochs
        assert trials.loc[0, ["learning_rate", "momentum", "epochs"]].tolist() == [0.001, 0.9, 9]
        assert trials["source"].tolist() == ["paper"] + [method] * (len(trials) - 1)
        assert best_trial(trials, objective="val_loss")["val_loss"] <= trials["val_loss"][0]
        searched = trials[1:]
        assert searched["learning_rate"].between(0.001, 0.1).all()
        assert searched["momentum"].between(0.5, 0.95).all()
        assert len(trials) == {"grid": 10}.get(method, 12)

    check()


def test_hyperband_gives_most_trials_few_epochs(make_plan: Callable[..., SearchPlan], tmp_path: Path) -> None:
    trials = run_search(make_plan(*budget("hyperband", 40)), tmp_path / "search")
    assert set(trials["epochs"]) == {1, 3, 9}
    assert (trials["epochs"] == 1).sum() > (trials["epochs"] == 9).sum()


def test_search_repeats_with_the_same_seed(make_plan: Callable[..., SearchPlan], tmp_path: Path) -> None:
    def values(folder: str, seed: int) -> pd.DataFrame:
        plan = make_plan(*budget("bayesian", 8), f"tuning.seed={seed}")
        return run_search(plan, tmp_path / folder)[["learning_rate", "momentum"]]

    pd.testing.assert_frame_equal(values("one", 0), values("again", 0))
    assert not values("other", 1).equals(values("one", 0))


def test_search_tries_warm_start_values_next(make_plan: Callable[..., SearchPlan], tmp_path: Path) -> None:
    warm_start = ({"learning_rate": 0.05, "momentum": 0.8}, {"learning_rate": 0.01, "momentum": 0.6})
    trials = run_search(make_plan(*budget("hyperband", 5), warm_start=warm_start), tmp_path / "search")
    assert trials["source"].tolist() == ["paper", "warm start", "warm start", "hyperband", "hyperband"]
    assert trials["epochs"][:3].tolist() == [9, 9, 9]
    assert trials.loc[1:2, ["learning_rate", "momentum"]].to_dict("records") == list(warm_start)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_interrupted_search_resumes_with_the_same_values(
    make_plan: Callable[..., SearchPlan], tmp_path: Path, method: str
) -> None:
    whole = run_search(make_plan(*budget(method, 11)), tmp_path / "whole")
    notes = tmp_path / "notes"
    plan = make_plan(*budget(method, 11), notes=str(notes), interrupt_at=8)
    with pytest.raises(KeyboardInterrupt):
        run_search(plan, tmp_path / "search")
    trials = run_search(plan, tmp_path / "search")
    assert len(notes.read_text("utf-8").splitlines()) == len(whole) + 1  # the interrupted trial, twice
    timeless = [name for name in whole if name != "seconds"]
    pd.testing.assert_frame_equal(trials[timeless], whole[timeless])


@pytest.mark.parametrize("name", ["oracle.json", "trial_*/trial.json"])
def test_search_of_damaged_state_names_the_folder(
    make_plan: Callable[..., SearchPlan], tmp_path: Path, name: str
) -> None:
    run_search(make_plan(*budget("random", 1)), tmp_path / "search")
    (file,) = (tmp_path / "search").glob(name)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(
        UserError, match=f"{tmp_path}/search: the state of the search is damaged .*delete the"
    ):
        run_search(make_plan(*budget("random", 1)), tmp_path / "search")


def test_search_records_failed_trials_and_continues(
    make_plan: Callable[..., SearchPlan], tmp_path: Path
) -> None:
    plan = make_plan(*budget("bayesian", 8), notes=str(tmp_path / "notes"), fail_at=[1, 3, 4, 5, 6])
    trials = run_search(plan, tmp_path / "search")
    failed = [0, 2, 3, 4, 5]
    assert trials["state"].tolist() == ["failed" if n in failed else "completed" for n in range(8)]
    assert set(trials["error"][failed]) == {"the loss is not finite in epoch 1"}
    assert best_trial(trials, objective="val_loss")["trial"] not in failed


def test_search_of_failed_trials_is_an_error(make_plan: Callable[..., SearchPlan], tmp_path: Path) -> None:
    plan = make_plan("tuning.trials=4", notes=str(tmp_path / "notes"), fail_at=[1, 2, 3, 4])
    with pytest.raises(UserError, match="all 4 trials of the search on mobilenet failed.*not finite.*lower"):
        run_search(plan, tmp_path / "search")


def test_search_ends_with_an_unexpected_error(make_plan: Callable[..., SearchPlan], tmp_path: Path) -> None:
    plan = make_plan(best={"learning_rate": "a word"})
    with pytest.raises(TypeError):
        run_search(plan, tmp_path / "search")


@pytest.mark.slow
def test_workers_share_a_search_and_survive_a_kill(
    make_plan: Callable[..., SearchPlan], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", logger=PROGRESS)
    notes = tmp_path / "notes"
    shared = ("tuning.trials=10", "tuning.method=random")
    plan = make_plan("tuning.workers=2", *shared, notes=str(notes), seconds=0.5, kill="worker-0")
    trials = run_search(plan, tmp_path / "search")
    processes = [line.split()[0] for line in notes.read_text("utf-8").splitlines()]
    # The trial of the killed worker runs again after the other worker has ended.
    assert set(processes) == {"worker-0", "worker-1", "alone"} and len(processes) == 11
    assert processes[-1] == "alone" and processes.count("alone") == 1
    assert trials["state"].tolist() == ["completed"] * 10
    assert [record.getMessage() for record in caplog.records] == [
        "worker 1 of 2 of the search died (exit code -9, see the log); 1 are left"
    ]
    alone = run_search(make_plan(*shared), tmp_path / "alone")
    columns = ["trial", "learning_rate", "momentum", "val_loss"]
    pd.testing.assert_frame_equal(trials[columns], alone[columns])


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them(
    make_plan: Callable[..., SearchPlan], tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    plan = make_plan("tuning.workers=2", "tuning.trials=10", notes=str(notes), seconds=60)
    plan.write(tmp_path / "search")
    code = "import sys; from pathlib import Path; from knet.tuning.search import run_workers as run"
    code = f"{code}; run(Path(sys.argv[1]), workers=2)"
    starter = subprocess.Popen([sys.executable, "-c", code, tmp_path / "search"])
    while not notes.is_file():
        assert starter.poll() is None
        time.sleep(0.1)
    starter.kill()
    starter.wait()
    for _ in range(100):
        if not (left := _processes_of(tmp_path / "search")):
            break
        time.sleep(0.1)
    assert left == []


def _processes_of(folder: Path) -> list[str]:
    """Return the command lines of processes that have the folder as argument."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(file.read_text().replace("\0", " ").strip())
    return [line for line in found if line.endswith(str(folder))]


def test_search_without_pods_ends_with_the_remedy(
    make_plan: Callable[..., SearchPlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10**6, 3600))  # an hour passes between two looks
    monkeypatch.setattr(search.time, "time", lambda: time.time_ns() / 1e9 + next(now))
    monkeypatch.setattr(search, "_POLL_SECONDS", 0)
    with pytest.raises(UserError, match="no pod has worked on .* for 2 hours; start them with kubectl"):
        run_search(make_plan(), tmp_path / "search", pod_hours=2)


def test_find_active_search_skips_ended_searches(
    make_plan: Callable[..., SearchPlan], tmp_path: Path
) -> None:
    assert find_active_search(tmp_path) is None
    for age, name in enumerate(("newest", "older", "oldest")):
        make_plan().write(tmp_path / "mobilenet" / name)
        os.utime(tmp_path / "mobilenet" / name / PLAN, (1e9 - age, 1e9 - age))
    assert find_active_search(tmp_path) == tmp_path / "mobilenet" / "newest"
    (tmp_path / "mobilenet" / "newest" / ENDED).touch()
    assert find_active_search(tmp_path) == tmp_path / "mobilenet" / "older"
    assert find_active_search(tmp_path / "mobilenet" / "oldest") == tmp_path / "mobilenet" / "oldest"
