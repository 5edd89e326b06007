"""Hyperparameter search with KerasTuner, in this process, in processes beside it or in pods.

`python -m knet.tuning.search FOLDER` runs one process of a search: the chief, which hands out the trials, or
a worker, according to KerasTuner's variables (`TrialTuner`). FOLDER holds a search, or folders of searches:
the process waits for one that has not ended and joins the newest.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras_tuner
import pandas as pd
import tensorflow as tf
from keras_tuner.engine import base_tuner

import knet
from knet.base.errors import UserError
from knet.base.progress import PROGRESS
from knet.tuning.oracles import make_oracle
from knet.tuning.plan import PLAN, Evaluation, SearchPlan, TrialError
from knet.tuning.trials import COMPLETED, EPOCHS, SECONDS, error_of, trials_table

_POLL = 1.0  # seconds


def run_search(plan: SearchPlan, folder: Path, *, pods: bool = False) -> pd.DataFrame:
    """Runs the trials that are left, and returns all, as `trials_table` does.

    Args:
        plan: the search.
        folder: its own, where it is found again after a kill.
        pods: that processes elsewhere which see the folder run it (`k8s/tuner`).

    Raises:
        UserError: all trials failed, or what they are run on is not usable.
    """
    plan.write(folder)
    if pods:
        _wait(folder)
    elif plan.tuning.workers > 1:
        run_workers(folder, workers=plan.tuning.workers)
    # What they left, where they were killed; all, where there were none.
    tuner = TrialTuner(plan, folder)
    tuner.search()
    trials = trials_table(tuner.oracle, plan)
    if not (trials["state"] == COMPLETED).any():
        raise UserError(
            f"all {len(trials)} trials of the search on {plan.candidate.name} failed; the last one: "
            f"{trials['error'].iloc[-1]}"
        )
    return trials


def _wait(folder: Path) -> None:
    logging.getLogger(PROGRESS).info("waiting for the chief and the workers of k8s/tuner: %s", folder)
    while not (folder / ENDED).exists():
        time.sleep(_POLL)


class TrialTuner(base_tuner.BaseTuner):
    """KerasTuner's loop over a plan's trials; finished ones of an earlier process are kept.

    KerasTuner's own variables (KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT) make it
    the chief, which hands out trials, or one of the workers.
    """

    def __init__(self, plan: SearchPlan, folder: Path) -> None:
        """Opens the search in its folder."""
        oracle = make_oracle(plan.tuning, plan.candidate, warm=plan.warm)
        oracle.verbose = 0
        super().__init__(oracle, directory=str(folder.parent), project_name=folder.name)
        self._plan = plan
        if isinstance(self.oracle, keras_tuner.Oracle) and (folder / "oracle.json").is_file():
            self.oracle.reload()

    @functools.cached_property
    def _evaluate(self) -> Evaluation:
        return self._plan.make_evaluation()

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Judges a trial's values; an error that is not of theirs ends the search."""
        values = {name: value for name, value in trial.hyperparameters.values.items() if "/" not in name}
        epochs = trial.hyperparameters.values.get(EPOCHS, self._plan.tuning.epochs)
        start = time.monotonic()
        try:
            score = self._evaluate(values, epochs)
        except TrialError as error:
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        except Exception as error:
            raise keras_tuner.errors.FatalError(str(error)) from error
        return {self._plan.tuning.objective: score, SECONDS: time.monotonic() - start}

    def on_trial_end(self, trial: Any) -> None:
        """Record the trial and log its result."""
        super().on_trial_end(trial)
        trial = self.oracle.get_trial(trial.trial_id)
        logging.getLogger(PROGRESS).info(
            "trial %d of at most %d: %s",
            int(trial.trial_id) + 1,
            self._plan.tuning.trials,
            error_of(trial) or f"{self._plan.tuning.objective} {trial.score:.4g}",
        )

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Until no trial is left; raises what ended it."""
        try:
            super().search(*args, **kwargs)
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ or error from None


_HOST = "127.0.0.1"
_WORKERS_POLL = 0.5  # seconds


def run_workers(folder: Path, *, workers: int) -> None:
    """Starts a chief and workers, and returns when they are done or have failed.

    Several GPUs are shared out among the workers. What they write goes to this process's outputs.

    Args:
        folder: of the search; its plan is there.
        workers: how many.
    """
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port = free.getsockname()[1]
    gpus = _gpus()
    chief = _start(folder, "chief", port, gpu="")
    crew = [
        _start(folder, f"worker-{number}", port, gpu=gpus[number % len(gpus)] if gpus else None)
        for number in range(workers)
    ]
    try:
        said = 0
        while chief.poll() is None and any(process.poll() is None for process in crew):
            if (ended := _ended(folder)) > said:
                said = ended
                logging.getLogger(PROGRESS).info("%d trials ended, on %d workers", ended, workers)
            time.sleep(_WORKERS_POLL)
    finally:
        for process in (*crew, chief):
            process.terminate()
            process.wait()


def _start(folder: Path, name: str, port: int, *, gpu: str | None) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": _HOST,
        "KERASTUNER_ORACLE_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(
            [str(Path(knet.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        ),
        "no_grpc_proxy": _HOST,
    }
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    return subprocess.Popen([sys.executable, "-m", "knet.tuning.search", str(folder)], env=environment)


def _gpus() -> list[str]:
    """The names that CUDA_VISIBLE_DEVICES takes, of all that are visible here."""
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named or [str(number) for number in range(len(tf.config.list_physical_devices("GPU")))]


def _ended(folder: Path) -> int:
    """How many trials have."""
    count = 0
    for file in folder.glob("trial_*/trial.json"):
        with contextlib.suppress(FileNotFoundError):
            count += json.loads(file.read_text(encoding="utf-8"))["status"] != "RUNNING"
    return count


ENDED = "ended"  # a file in the folder of a search, which the chief leaves


def run_worker(root: Path) -> None:
    """Takes part in the search, until no trial is left."""
    while (folder := find_active_search(root)) is None:
        time.sleep(_POLL)
    TrialTuner(SearchPlan.read(folder), folder).search()
    if "chief" in os.environ["KERASTUNER_TUNER_ID"]:
        (folder / ENDED).touch()


def find_active_search(root: Path) -> Path | None:
    """The folder of the newest search that has not ended, or None."""
    plans = [plan for plan in root.rglob(PLAN) if not plan.with_name(ENDED).exists()]
    return max(plans, key=lambda plan: plan.stat().st_mtime).parent if plans else None


if __name__ == "__main__":
    run_worker(Path(sys.argv[1]))
