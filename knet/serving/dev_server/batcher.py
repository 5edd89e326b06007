"""Answers requests that wait together, by TF Serving's batching parameters."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from grpc import StatusCode
from numpy.typing import NDArray

from knet.serving.dev_server.errors import StatusError, invalid_argument
from knet.serving.dev_server.models import Arrays, LoadedVersion, Signature
from knet.serving.models_config import Batching

_Key = tuple[LoadedVersion, str, tuple[Any, ...]]


@dataclass
class _Task:
    """A request that waits."""

    arrays: Arrays
    rows: int
    outcome: asyncio.Future[Arrays]


@dataclass
class _Queue:
    """Those that can be answered together."""

    signature: Signature
    tasks: deque[_Task] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def rows(self) -> int:
        return sum(task.rows for task in self.tasks)


class Batcher:
    """Runs models in threads, with several requests at once where the signature allows.

    All methods belong to one event loop.
    """

    def __init__(self, parameters: Batching | None, *, threads: int = 2) -> None:
        """Makes the threads.

        Args:
            parameters: none runs every request by itself.
            threads: how many run then.
        """
        self._parameters = parameters
        threads = parameters.num_batch_threads if parameters else threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="batch")
        self._idle = asyncio.Semaphore(threads)
        self._queues: dict[_Key, _Queue] = {}
        self._running: set[asyncio.Task[None]] = set()  # else nothing would hold on to them

    def close(self) -> None:
        """Ends the threads when they have done what they do."""
        self._threads.shutdown(wait=False)

    async def run(self, version: LoadedVersion, signature: Signature, arrays: Arrays) -> Arrays:
        """Asks a model.

        Args:
            version: that is asked.
            signature: of it.
            arrays: its inputs, which it has checked.

        Raises:
            Refusal: by the model, or there are too many rows in the request or before it.
        """
        if self._parameters is None or not signature.batches:
            return await self._in_thread(version.run, signature, arrays)
        task = _Task(arrays, _rows(arrays), asyncio.get_running_loop().create_future())
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
            self._keep(self._empty(key, queue, parameters))
        queue.tasks.append(task)
        queue.arrived.set()

    async def _empty(self, key: _Key, queue: _Queue, parameters: Batching) -> None:
        """Answers the tasks of a queue; then forgets the queue, and with it the version."""
        while queue.tasks:
            await self._idle.acquire()
            await _drain(queue, parameters)
            tasks = _pop_batch(queue.tasks, parameters.max_batch_size)
            self._keep(self._answer(key[0], queue.signature, tasks, parameters))
        del self._queues[key]

    async def _answer(
        self, version: LoadedVersion, signature: Signature, tasks: Sequence[_Task], parameters: Batching
    ) -> None:
        """Answers some tasks together; one by one where that fails, so that the guilty alone are refused."""
        try:
            outputs = await self._in_thread(_run_together, version, signature, tasks, parameters)
        except Exception as error:
            if len(tasks) == 1:
                _resolve(tasks[0].outcome, error=error)
            else:
                for task in tasks:
                    await self._answer_alone(version, signature, task, parameters)
        else:
            for task, part in zip(tasks, outputs, strict=True):
                _resolve(task.outcome, part)
        finally:
            self._idle.release()

    async def _answer_alone(
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

    def _keep(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._running.discard)


async def _drain(queue: _Queue, parameters: Batching) -> None:
    """Waits until a batch is full, or the time is up that its first request waits for others."""
    loop = asyncio.get_running_loop()
    until = loop.time() + parameters.batch_timeout_micros / 1e6
    while queue.rows < parameters.max_batch_size and (left := until - loop.time()) > 0:
        queue.arrived.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(queue.arrived.wait(), left)


def _pop_batch(tasks: deque[_Task], most: int) -> list[_Task]:
    """The first tasks that fit into a batch; those whose client is gone are dropped."""
    taken: list[_Task] = []
    rows = 0
    while tasks and rows + tasks[0].rows <= most:
        task = tasks.popleft()
        if not task.outcome.done():
            taken.append(task)
            rows += task.rows
    return taken


def _rows(arrays: Arrays) -> int:
    sizes = {len(array) for array in arrays.values()}
    if len(sizes) != 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def _run_together(
    version: LoadedVersion, signature: Signature, tasks: Sequence[_Task], parameters: Batching
) -> list[Arrays]:
    """Runs a model on the rows of some tasks, and deals out the rows of its outputs."""
    rows = sum(task.rows for task in tasks)
    more = parameters.padded_size(rows) - rows
    arrays = {
        alias: _pad(np.concatenate([task.arrays[alias] for task in tasks]), more)
        for alias in signature.inputs
    }
    outputs = version.run(signature, arrays)
    if any(output.ndim == 0 or len(output) != rows + more for output in outputs.values()):
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


def _pad(array: NDArray[Any], more: int) -> NDArray[Any]:
    """With copies of the first row at the end."""
    return np.concatenate([array, np.repeat(array[:1], more, axis=0)]) if more and len(array) else array


def _resolve(outcome: asyncio.Future[Arrays], value: Any = None, *, error: Exception | None = None) -> None:
    if outcome.done():  # the client is gone
        return
    if error is None:
        outcome.set_result(value)
    else:
        outcome.set_exception(error)
