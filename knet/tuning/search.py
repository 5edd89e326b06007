"""Hyperparameter search with KerasTuner: in this process, in local worker processes, or in pods.

`python -m knet.tuning.search FOLDER` runs one process of a search. KerasTuner's variables (`TrialTuner`) make
it the chief, which assigns the trials, or a worker. FOLDER is the folder of a search or one above: the
process waits for a search that has not ended and joins the newest.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import logging
import os
import signal
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
from knet.base.files import atomic_write
from knet.base.progress import PROGRESS
from knet.base.text import counted
from knet.tuning.oracles import make_oracle
from knet.tuning.plan import PLAN, Evaluation, SearchPlan, TrialError
from knet.tuning.trials import COMPLETED, EPOCHS, SECONDS, trial_error, trials_table

_POLL_SECONDS = 1.0


def run_search(plan: SearchPlan, folder: Path, *, pod_hours: int = 0) -> pd.DataFrame:
    """Run the trials that have not ended yet.

    Args:
        plan: The search.
        folder: Folder of its state. A search that was killed is resumed from the same folder.
        pod_hours: Longest wait, in hours, for a sign of the processes elsewhere that share the folder and run
            the trials (`k8s/tuner`). Default: this process runs them.

    Returns:
        All trials, as `trials_table`.

    Raises:
        UserError: All trials failed, no pod works on the search, or the data or devices are not usable.
    """
    plan.write(folder)
    if pod_hours:
        _wait_for_pods(folder, hours=pod_hours)
    elif plan.tuning.workers > 1:
        run_workers(folder, workers=plan.tuning.workers)
    # All trials of a search in one process; otherwise those of workers that were killed.
    tuner = TrialTuner(plan, folder)
    tuner.search()
    trials = trials_table(tuner.oracle, plan)
    if not (trials["state"] == COMPLETED).any():
        raise UserError(
            f"tuning: all {len(trials)} trials of the search on {plan.candidate.name} failed; the last one: "
            f"{trials['error'].iloc[-1]}; lower tuning.learning_rate.high, or training.micro_batch if "
            "memory ran out"
        )
    return trials


def _wait_for_pods(folder: Path, *, hours: int) -> None:
    """Wait for the last trial.

    Raises:
        UserError: no file of the search has changed for some hours.
    """
    logging.getLogger(PROGRESS).info("waiting for the chief and the workers of k8s/tuner: %s", folder)
    started = time.time()
    while not (folder / ENDED).exists():
        if time.time() - max(started, _last_change(folder)) > hours * 3600:
            raise UserError(
                f"tuning: no pod has worked on {folder} for {counted(hours, 'hour')}; start them with "
                "kubectl apply -k k8s/tuner, look at their logs, or raise kubeflow.tuner_pods_hours if a "
                "trial takes longer"
            )
        time.sleep(_POLL_SECONDS)


def _last_change(folder: Path) -> float:
    """Return the time of the last change of a file in a folder."""
    times = [folder.stat().st_mtime]
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times)


class TrialTuner(base_tuner.BaseTuner):
    """KerasTuner's loop over the trials of a plan, except those that ended in an earlier process.

    KerasTuner's variables KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT make the
    process the chief, which assigns trials, or one of the workers.
    """

    def __init__(self, plan: SearchPlan, folder: Path) -> None:
        """Create the search, or load its state from the folder.

        Raises:
            UserError: the state is damaged.
        """
        oracle = make_oracle(plan.tuning, plan.candidate, warm_start=plan.warm_start)
        oracle.verbose = 0
        self._plan = plan
        try:
            super().__init__(oracle, directory=str(folder.parent), project_name=folder.name)
            if isinstance(self.oracle, keras_tuner.Oracle) and (folder / "oracle.json").is_file():
                self.oracle.reload()
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise UserError(
                f"{folder}: the state of the search is damaged ({error}); delete the folder, and the search "
                "starts again"
            ) from error

    def save(self) -> None:
        """Write the state of the search atomically; KerasTuner writes in place."""
        if not self._is_worker():
            self.oracle.save()
        save = super(base_tuner.BaseTuner, self).save
        atomic_write(Path(self._get_tuner_fname()), lambda path: save(str(path)))

    @functools.cached_property
    def _evaluate(self) -> Evaluation:
        return self._plan.make_evaluation()

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Run trials until none is left; raises the error that ended the search."""
        try:
            super().search(*args, **kwargs)
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ or error from None

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate a trial's hyperparameters; any error but a `TrialError` ends the search."""
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
            trial_error(trial) or f"{self._plan.tuning.objective} {trial.score:.4g}",
        )


_HOST = "127.0.0.1"
_PARENT = "KNET_SEARCH_PARENT"  # environment variable: process that started a worker of this machine
_PR_SET_PDEATHSIG = 1  # of prctl(2)
_WORKERS_POLL_SECONDS = 0.5


def run_workers(folder: Path, *, workers: int) -> None:
    """Start a chief and workers on this machine, and return when they have ended.

    GPUs are assigned to the workers in turn. The processes write to this process's stdout and stderr.

    Args:
        folder: Folder of the search, with its plan.
        workers: Number of workers.
    """
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port = free.getsockname()[1]
    gpus = _visible_gpus()
    chief = _start_process(folder, "chief", port, gpu="")
    worker_processes = [
        _start_process(folder, f"worker-{number}", port, gpu=gpus[number % len(gpus)] if gpus else None)
        for number in range(workers)
    ]
    progress = logging.getLogger(PROGRESS)
    died: set[int] = set()
    try:
        logged = 0
        while chief.poll() is None and any(process.poll() is None for process in worker_processes):
            for number, process in enumerate(worker_processes):
                if process.poll() and number not in died:
                    died.add(number)
                    progress.warning(
                        "worker %d of %d of the search died (exit code %d, see the log); %d are left",
                        *(number + 1, workers, process.returncode, workers - len(died)),
                    )
            if (ended := _count_ended_trials(folder)) > logged:
                logged = ended
                progress.info("%d trials ended, on %d workers", ended, workers - len(died))
            time.sleep(_WORKERS_POLL_SECONDS)
        if code := chief.poll():
            progress.warning("the chief of the search died (exit code %d, see the log)", code)
        elif len(died) == workers:
            progress.warning("no worker of the search is left; this process runs the other trials")
    finally:
        for process in (*worker_processes, chief):
            process.terminate()
            process.wait()


def _start_process(folder: Path, name: str, port: int, *, gpu: str | None) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": _HOST,
        "KERASTUNER_ORACLE_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(
            [str(Path(knet.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        ),
        "no_grpc_proxy": _HOST,
        _PARENT: str(os.getpid()),
    }
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    # In a session of its own, Ctrl-C does not reach it: the process that started it ends it.
    return subprocess.Popen(
        [sys.executable, "-m", "knet.tuning.search", str(folder)], env=environment, start_new_session=True
    )


def _end_with_parent() -> None:
    """Let the kernel kill this process as soon as the process that started it ends, even by SIGKILL."""
    if parent := os.environ.get(_PARENT):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):
            sys.exit("the process that started this one has ended")


def _visible_gpus() -> list[str]:
    """Return the visible GPUs, as values of CUDA_VISIBLE_DEVICES."""
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named or [str(number) for number in range(len(tf.config.list_physical_devices("GPU")))]


def _count_ended_trials(folder: Path) -> int:
    count = 0
    for file in folder.glob("trial_*/trial.json"):
        with contextlib.suppress(FileNotFoundError):
            count += json.loads(file.read_text(encoding="utf-8"))["status"] != "RUNNING"
    return count


ENDED = "ended"  # file that the chief writes into the folder of a search after its last trial


def run_worker(root: Path) -> None:
    """Join the newest search that has not ended, and run trials until none is left.

    Args:
        root: Folder of a search, or one above it.
    """
    while (folder := find_active_search(root)) is None:
        time.sleep(_POLL_SECONDS)
    TrialTuner(SearchPlan.read(folder), folder).search()
    if "chief" in os.environ["KERASTUNER_TUNER_ID"]:
        (folder / ENDED).touch()


def find_active_search(root: Path) -> Path | None:
    """Return the folder of the newest search that has not ended, or None."""
    plans = [plan for plan in root.rglob(PLAN) if not plan.with_name(ENDED).exists()]
    return max(plans, key=lambda plan: plan.stat().st_mtime).parent if plans else None


if __name__ == "__main__":
    _end_with_parent()
    run_worker(Path(sys.argv[1]))
