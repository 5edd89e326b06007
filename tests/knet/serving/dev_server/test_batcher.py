"""Tests of the batcher: requests share batches, and only faulty ones fail."""

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
from knet.serving.dev_server.loaded_version import Arrays, Signature
from knet.serving.models_config import Batching


def _input(*sizes: int) -> meta_graph_pb2.TensorInfo:
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in sizes]
    return meta_graph_pb2.TensorInfo(tensor_shape={"dim": dims})


ROWS = Signature("rows", {"x": _input(-1)}, ("y",), "")
WHOLE = Signature("whole", {"x": _input(2)}, ("y",), "")


class FakeVersion:
    """A fake version that doubles its input, records its batch sizes, and fails for negative numbers."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.may_run = threading.Event()
        self.may_run.set()

    def run(self, signature: Signature, arrays: Arrays) -> Arrays:
        self.may_run.wait(10)
        self.batches.append(len(arrays["x"]))
        if (arrays["x"] < 0).any():
            raise invalid_argument("negative")
        return {"y": 2 * arrays["x"]}


def run(parameters: Batching | None, scenario: Callable[[Batcher, Any], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        batcher = Batcher(parameters)
        try:
            return await asyncio.wait_for(scenario(batcher, FakeVersion()), 10)
        finally:
            batcher.close()

    return asyncio.run(main())


async def _request(
    batcher: Batcher, version: Any, *values: float, signature: Signature = ROWS
) -> list[float]:
    return (await batcher.run(version, signature, {"x": np.array(values)}))["y"].tolist()


def test_run_pads_queued_requests_to_an_allowed_size() -> None:
    async def scenario(batcher: Batcher, version: FakeVersion) -> None:
        version.may_run.clear()
        first = asyncio.create_task(_request(batcher, version, 1))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(_request(batcher, version, n, n + 0.5)) for n in (2, 3, 4)]
        await asyncio.sleep(0.05)
        version.may_run.set()
        assert await first == [2]
        assert await asyncio.gather(*others) == [[4, 5], [6, 7], [8, 9]]
        assert version.batches == [1, 8]  # six rows, padded

    run(Batching(max_batch_size=8, allowed_batch_sizes=(1, 4, 8)), scenario)


def test_run_batches_have_at_most_the_maximum_of_rows() -> None:
    async def scenario(batcher: Batcher, version: FakeVersion) -> None:
        answers = await asyncio.gather(*(_request(batcher, version, n, n, n) for n in range(5)))
        assert answers == [[2 * n] * 3 for n in range(5)]
        assert max(version.batches) <= 8 and sum(version.batches) == 15

    run(Batching(max_batch_size=8), scenario)


def test_run_first_request_waits_for_the_batch_timeout() -> None:
    async def scenario(batcher: Batcher, version: FakeVersion) -> None:
        first = asyncio.create_task(_request(batcher, version, 1))
        await asyncio.sleep(0.02)
        assert version.batches == []
        assert await asyncio.gather(first, _request(batcher, version, 2)) == [[2], [4]]
        assert version.batches == [2]

    run(Batching(max_batch_size=2, batch_timeout_micros=5_000_000), scenario)


def test_run_only_faulty_requests_of_a_batch_fail() -> None:
    async def scenario(batcher: Batcher, version: FakeVersion) -> None:
        tasks = [_request(batcher, version, n) for n in (1, -1, 3)]
        good, bad, other = await asyncio.gather(*tasks, return_exceptions=True)
        assert (good, other) == ([2], [6])
        assert isinstance(bad, StatusError) and str(bad) == "negative"

    run(Batching(max_batch_size=8, batch_timeout_micros=10_000), scenario)


def test_run_full_queue_is_unavailable_until_it_is_shorter() -> None:
    async def scenario(batcher: Batcher, version: FakeVersion) -> None:
        version.may_run.clear()
        running = asyncio.create_task(_request(batcher, version, 0))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(_request(batcher, version, n)) for n in range(4)]
        await asyncio.sleep(0.05)
        with pytest.raises(StatusError, match="queue to which this task was submitted is full") as caught:
            await _request(batcher, version, 9)
        assert caught.value.code == StatusCode.UNAVAILABLE
        version.may_run.set()
        await asyncio.gather(running, *waiting)
        assert await _request(batcher, version, 9) == [18]

    run(Batching(max_batch_size=2, max_enqueued_batches=2), scenario)


def test_run_request_larger_than_a_batch_is_refused() -> None:
    async def scenario(batcher: Batcher, version: FakeVersion) -> None:
        with pytest.raises(
            StatusError, match="Task size 3 is larger than maximum input batch size 2"
        ) as caught:
            await _request(batcher, version, 1, 2, 3)
        assert caught.value.code == StatusCode.INVALID_ARGUMENT

    run(Batching(max_batch_size=2), scenario)


def test_run_cancelled_requests_are_dropped() -> None:
    async def scenario(batcher: Batcher, version: FakeVersion) -> None:
        version.may_run.clear()
        running = asyncio.create_task(_request(batcher, version, 0))
        await asyncio.sleep(0.05)
        gone = asyncio.create_task(_request(batcher, version, 1))
        stays = asyncio.create_task(_request(batcher, version, 2))
        await asyncio.sleep(0.05)
        gone.cancel()
        version.may_run.set()
        assert await running == [0] and await stays == [4]
        assert version.batches == [1, 1]

    run(Batching(max_batch_size=8), scenario)


@pytest.mark.parametrize("parameters", [None, Batching(max_batch_size=8)])
def test_run_signature_without_batch_dimension_runs_alone(parameters: Batching | None) -> None:
    async def scenario(batcher: Batcher, version: FakeVersion) -> None:
        asked = [_request(batcher, version, n, n, signature=WHOLE) for n in range(3)]
        assert await asyncio.gather(*asked) == [[0, 0], [2, 2], [4, 4]]
        assert version.batches == [2, 2, 2]

    run(parameters, scenario)


def test_run_outputs_without_rows_are_refused() -> None:
    class Sum(FakeVersion):
        def run(self, signature: Signature, arrays: Arrays) -> Arrays:
            return {"y": arrays["x"].sum()}

    async def scenario(batcher: Batcher, _: FakeVersion) -> None:
        with pytest.raises(StatusError, match="0th dimension does not equal"):
            await _request(batcher, Sum(), 1, 2)

    run(Batching(max_batch_size=8), scenario)


def test_run_empty_queue_releases_the_version() -> None:
    async def scenario(batcher: Batcher, version: FakeVersion) -> None:
        await _request(batcher, version, 1)
        await asyncio.sleep(0.01)
        assert not batcher._queues

    run(Batching(max_batch_size=8), scenario)
