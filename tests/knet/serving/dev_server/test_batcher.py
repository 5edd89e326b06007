"""Requests that wait are answered together, each with its own rows, and the guilty alone are refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from grpc import StatusCode
from tensorflow.core.framework import tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from knet.serving.dev_server.batcher import Batcher
from knet.serving.dev_server.errors import StatusError, invalid_argument
from knet.serving.dev_server.models import Arrays, Signature
from knet.serving.models_config import Batching


def _input(*sizes: int) -> meta_graph_pb2.TensorInfo:
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in sizes]
    return meta_graph_pb2.TensorInfo(tensor_shape={"dim": dims})


ROWS = Signature("rows", {"x": _input(-1)}, ("y",), "")
WHOLE = Signature("whole", {"x": _input(2)}, ("y",), "")


class Double:
    """A version that doubles, remembers the sizes of its batches, and refuses negative numbers."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def run(self, signature: Signature, arrays: Arrays) -> Arrays:
        self.go_on.wait(10)
        self.batches.append(len(arrays["x"]))
        if (arrays["x"] < 0).any():
            raise invalid_argument("negative")
        return {"y": 2 * arrays["x"]}


def run(parameters: Batching | None, work: Callable[[Batcher, Any], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        batcher = Batcher(parameters)
        try:
            return await asyncio.wait_for(work(batcher, Double()), 10)
        finally:
            batcher.close()

    return asyncio.run(main())


async def _ask(batcher: Batcher, version: Any, *values: float, signature: Signature = ROWS) -> list[float]:
    return (await batcher.run(version, signature, {"x": np.array(values)}))["y"].tolist()


def test_those_who_wait_are_answered_together_and_filled_up_to_an_allowed_size() -> None:
    async def work(batcher: Batcher, version: Double) -> None:
        version.go_on.clear()
        first = asyncio.create_task(_ask(batcher, version, 1))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(_ask(batcher, version, n, n + 0.5)) for n in (2, 3, 4)]
        await asyncio.sleep(0.05)
        version.go_on.set()
        assert await first == [2]
        assert await asyncio.gather(*others) == [[4, 5], [6, 7], [8, 9]]
        assert version.batches == [1, 8]  # six rows, filled up

    run(Batching(max_batch_size=8, allowed_batch_sizes=(1, 4, 8)), work)


def test_a_batch_takes_no_more_rows_than_the_maximum() -> None:
    async def work(batcher: Batcher, version: Double) -> None:
        answers = await asyncio.gather(*(_ask(batcher, version, n, n, n) for n in range(5)))
        assert answers == [[2 * n] * 3 for n in range(5)]
        assert max(version.batches) <= 8 and sum(version.batches) == 15

    run(Batching(max_batch_size=8), work)


def test_the_first_waits_for_others_as_long_as_it_is_told() -> None:
    async def work(batcher: Batcher, version: Double) -> None:
        first = asyncio.create_task(_ask(batcher, version, 1))
        await asyncio.sleep(0.02)
        assert version.batches == []
        assert await asyncio.gather(first, _ask(batcher, version, 2)) == [[2], [4]]
        assert version.batches == [2]

    run(Batching(max_batch_size=2, batch_timeout_micros=5_000_000), work)


def test_the_guilty_alone_are_refused() -> None:
    async def work(batcher: Batcher, version: Double) -> None:
        tasks = [_ask(batcher, version, n) for n in (1, -1, 3)]
        good, bad, other = await asyncio.gather(*tasks, return_exceptions=True)
        assert (good, other) == ([2], [6])
        assert isinstance(bad, StatusError) and str(bad) == "negative"

    run(Batching(max_batch_size=8, batch_timeout_micros=10_000), work)


def test_a_full_queue_refuses_and_takes_again_when_it_is_shorter() -> None:
    async def work(batcher: Batcher, version: Double) -> None:
        version.go_on.clear()
        running = asyncio.create_task(_ask(batcher, version, 0))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(_ask(batcher, version, n)) for n in range(4)]
        await asyncio.sleep(0.05)
        with pytest.raises(StatusError, match="queue to which this task was submitted is full") as caught:
            await _ask(batcher, version, 9)
        assert caught.value.code == StatusCode.UNAVAILABLE
        version.go_on.set()
        await asyncio.gather(running, *waiting)
        assert await _ask(batcher, version, 9) == [18]

    run(Batching(max_batch_size=2, max_enqueued_batches=2), work)


def test_a_request_larger_than_a_batch_is_refused() -> None:
    async def work(batcher: Batcher, version: Double) -> None:
        with pytest.raises(
            StatusError, match="Task size 3 is larger than maximum input batch size 2"
        ) as caught:
            await _ask(batcher, version, 1, 2, 3)
        assert caught.value.code == StatusCode.INVALID_ARGUMENT

    run(Batching(max_batch_size=2), work)


def test_those_who_went_away_are_dropped() -> None:
    async def work(batcher: Batcher, version: Double) -> None:
        version.go_on.clear()
        running = asyncio.create_task(_ask(batcher, version, 0))
        await asyncio.sleep(0.05)
        gone = asyncio.create_task(_ask(batcher, version, 1))
        stays = asyncio.create_task(_ask(batcher, version, 2))
        await asyncio.sleep(0.05)
        gone.cancel()
        version.go_on.set()
        assert await running == [0] and await stays == [4]
        assert version.batches == [1, 1]

    run(Batching(max_batch_size=8), work)


@pytest.mark.parametrize("parameters", [None, Batching(max_batch_size=8)])
def test_a_signature_without_a_batch_dimension_runs_alone(parameters: Batching | None) -> None:
    async def work(batcher: Batcher, version: Double) -> None:
        asked = [_ask(batcher, version, n, n, signature=WHOLE) for n in range(3)]
        assert await asyncio.gather(*asked) == [[0, 0], [2, 2], [4, 4]]
        assert version.batches == [2, 2, 2]

    run(parameters, work)


def test_outputs_that_are_not_rows_are_refused_as_tf_serving_does() -> None:
    class Sum(Double):
        def run(self, signature: Signature, arrays: Arrays) -> Arrays:
            return {"y": arrays["x"].sum()}

    async def work(batcher: Batcher, _: Double) -> None:
        with pytest.raises(StatusError, match="0th dimension does not equal"):
            await _ask(batcher, Sum(), 1, 2)

    run(Batching(max_batch_size=8), work)


def test_the_version_is_let_go_when_the_queue_is_empty() -> None:
    async def work(batcher: Batcher, version: Double) -> None:
        await _ask(batcher, version, 1)
        await asyncio.sleep(0.01)
        assert not batcher._queues

    run(Batching(max_batch_size=8), work)
