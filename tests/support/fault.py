"""Faults in the middle of a run: a signal in a node or before the record, a file that is damaged."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfx.orchestration.portable import launcher

WRITING, WRITTEN = "writing", "written"  # moments of a node: its first file exists, or its last one does
_POLL_SECONDS = 0.002


def stop_in_node(signals: Mapping[str, int], output: str, moment: str) -> None:
    """Arrange that this process gets a signal in the first of some nodes that runs.

    Beam may run nodes that do not depend on one another in any order.

    Args:
        signals: signal by node id.
        output: folder of the run.
        moment: WRITING is after the first new file of the node, WRITTEN before MLMD records its end.
    """
    run_executor: Callable[..., Any] = launcher.Launcher._run_executor

    def run(self: Any, info: Any) -> Any:
        node = self._pipeline_node.node_info.id
        if node not in signals:
            return run_executor(self, info)
        if moment == WRITING:
            folders = [Path(output, "artifacts", node), Path(output, "checkpoints")]
            watching = (folders, _files(folders), signals[node])
            threading.Thread(target=_stop_at_first_file, args=watching, daemon=True).start()
        result = run_executor(self, info)
        _stop(signals[node])
        return result

    launcher.Launcher._run_executor = run


def damage_before_node(node: str, file: str) -> None:
    """Arrange that a file, which was checked before the run, is damaged when a node starts."""
    run_executor: Callable[..., Any] = launcher.Launcher._run_executor

    def run(self: Any, info: Any) -> Any:
        if self._pipeline_node.node_info.id == node:
            Path(file).write_bytes(b"damaged")
        return run_executor(self, info)

    launcher.Launcher._run_executor = run


def stop_before_record(number: int) -> None:
    """Arrange that this process gets a signal when the page is written, and the record is not."""
    from knet.report import report

    write_report = report.write_report

    def write(*arguments: Any) -> Any:
        write_report(*arguments)
        _stop(number)

    report.write_report = write  # type: ignore[assignment]


def _stop_at_first_file(folders: list[Path], before: set[Path], number: int) -> None:
    while _files(folders) <= before:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), number)


def _files(folders: list[Path]) -> set[Path]:
    found = (path for folder in folders for path in folder.rglob("*"))
    return {path for path in found if ".system" not in path.parts and path.is_file()}


def _stop(number: int) -> Any:
    os.kill(os.getpid(), number)
    while number != signal.SIGKILL:  # until the thread that waits for signals ends the process
        time.sleep(1)
