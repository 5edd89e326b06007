"""Batches concurrent requests by TF Serving's batching parameters."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from grpc import StatusCode
from numpy.typing import NDArray

from knet.serving.dev_server.errors import StatusError, invalid_argument
from knet.serving.dev_server.loaded_version import Arrays, LoadedVersion, Signature
from knet.serving.models_config import Batching


class Batcher:
    """Runs models in threads, with several requests in a batch where the signature has a batch dimension.

    All methods must be called in the same event loop.
    """

    def __init__(self, parameters: Batching | None, *, threads: int = 2) -> None:
        """Start the thread pool.

        Args:
            parameters: batching parameters; None runs every request by itself.
            threads: size of the pool without batching parameters.
        """
        self._parameters = parameters
        threads = parameters.num_batch_threads if parameters else threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="batch")
        self._idle = asyncio.Semaphore(threads)
        self._queues: dict[_Key, _Queue] = {}
        self._background: set[asyncio.Task[None]] = set()  # asyncio itself holds tasks by weak references

    def close(self) -> None:
        """Stop the threads when their current batches have finished."""
        self._threads.shutdown(wait=False)

    async def run(self, version: LoadedVersion, signature: Signature, arrays: Arrays) -> Arrays:
        """Run a signature of a model.

        Args:
            version: the model.
            signature: one of its signatures.
            arrays: inputs that the signature has checked, by alias.

        Returns:
            The outputs, by alias.

        Raises:
            StatusError: the model failed, or the request or the queue has too many rows.
        """
        if self._parameters is None or not signature.has_batch_dimension:
            return await self._in_thread(version.run, signature, arrays)
        task = _Task(arrays, _count_rows(arrays), asyncio.get_running_loop().create_future())
        self._enqueue(version, signature, task, self._parameters)
        return await task.outcome

    def _enqueue(
        self, version: LoadedVersion, signature: Signature, task: _Task, parameters: Batching
    ) -> None:
        if task.rows > parameters.max_batch_size:
            raise invalid_argument(
                f"Task size {task.rows} is larger than maximum input batch size {parameters.max_batch_size}"
            )
        key = (version, signature.name, tuple(a.shape[1:] for _, a in sorted(task.arrays.items())))
        queue = self._queues.get(key)
        waiting = queue.rows if queue else 0
        if waiting + task.rows > parameters.max_enqueued_batches * parameters.max_batch_size:
            raise StatusError(
                StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full",
            )
        if queue is None:
            queue = self._queues[key] = _Queue(signature)
            self._spawn(self._drain(key, queue, parameters))
        queue.tasks.append(task)
        queue.arrived.set()

    async def _drain(self, key: _Key, queue: _Queue, parameters: Batching) -> None:
        """Run the tasks of a queue, then drop the queue and its reference to the version."""
        while queue.tasks:
            await self._idle.acquire()
            await _wait_for_batch(queue, parameters)
            tasks = _pop_batch(queue.tasks, parameters.max_batch_size)
            self._spawn(self._run_batch(key[0], queue.signature, tasks, parameters))
        del self._queues[key]

    async def _run_batch(
        self, version: LoadedVersion, signature: Signature, tasks: Sequence[_Task], parameters: Batching
    ) -> None:
        """Run tasks as one batch; if it fails, one by one, so that only the faulty requests fail."""
        try:
            outputs = await self._in_thread(_run_together, version, signature, tasks, parameters)
        except Exception as error:
            if len(tasks) == 1:
                _resolve(tasks[0].outcome, error=error)
            else:
                for task in tasks:
                    await self._run_alone(version, signature, task, parameters)
        else:
            for task, rows in zip(tasks, outputs, strict=True):
                _resolve(task.outcome, rows)
        finally:
            self._idle.release()

    async def _run_alone(
        self, version: LoadedVersion, signature: Signature, task: _Task, parameters: Batching
    ) -> None:
        try:
            (outputs,) = await self._in_thread(_run_together, version, signature, [task], parameters)
        except Exception as error:
            _resolve(task.outcome, error=error)
        else:
            _resolve(task.outcome, outputs)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


_Key = tuple[LoadedVersion, str, tuple[Any, ...]]  # version, signature, shapes of a row of each input


@dataclass
class _Task:
    """A queued request."""

    arrays: Arrays
    rows: int
    outcome: asyncio.Future[Arrays]


@dataclass
class _Queue:
    """Queued requests that can share a batch."""

    signature: Signature
    tasks: deque[_Task] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def rows(self) -> int:
        return sum(task.rows for task in self.tasks)


def _count_rows(arrays: Arrays) -> int:
    sizes = {len(array) for array in arrays.values()}
    if len(sizes) != 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


async def _wait_for_batch(queue: _Queue, parameters: Batching) -> None:
    """Wait until a batch is full or its first request has waited for the batch timeout."""
    loop = asyncio.get_running_loop()
    until = loop.time() + parameters.batch_timeout_micros / 1e6
    while queue.rows < parameters.max_batch_size and (left := until - loop.time()) > 0:
        queue.arrived.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(queue.arrived.wait(), left)


def _pop_batch(tasks: deque[_Task], max_rows: int) -> list[_Task]:
    """Pop the first tasks that fit into a batch; tasks whose client disconnected are dropped."""
    batch: list[_Task] = []
    rows = 0
    while tasks and rows + tasks[0].rows <= max_rows:
        task = tasks.popleft()
        if not task.outcome.done():
            batch.append(task)
            rows += task.rows
    return batch


def _run_together(
    version: LoadedVersion, signature: Signature, tasks: Sequence[_Task], parameters: Batching
) -> list[Arrays]:
    """Run a model on the concatenated rows of some tasks; returns the output rows of each task."""
    rows = sum(task.rows for task in tasks)
    padding = parameters.padded_size(rows) - rows
    arrays = {
        alias: _pad(np.concatenate([task.arrays[alias] for task in tasks]), padding)
        for alias in signature.inputs
    }
    outputs = version.run(signature, arrays)
    if any(output.ndim == 0 or len(output) != rows + padding for output in outputs.values()):
        raise StatusError(
            StatusCode.FAILED_PRECONDITION,
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
            "input tensors",
        )
    ends = np.cumsum([task.rows for task in tasks])
    return [
        {alias: output[end - task.rows : end] for alias, output in outputs.items()}
        for task, end in zip(tasks, ends, strict=True)
    ]


def _pad(array: NDArray[Any], padding: int) -> NDArray[Any]:
    """Append copies of the first row."""
    if not padding or not len(array):
        return array
    return np.concatenate([array, np.repeat(array[:1], padding, axis=0)])


def _resolve(outcome: asyncio.Future[Arrays], value: Any = None, *, error: Exception | None = None) -> None:
    if outcome.done():  # the client disconnected
        return
    if error is None:
        outcome.set_result(value)
    else:
        outcome.set_exception(error)
