"""Both clients against a fake server with planned failures."""

from __future__ import annotations

import asyncio
import time
from concurrent import futures
from pathlib import Path
from threading import Timer
from typing import Any

import grpc
import numpy as np
import pytest
from fake_model_server import FakeModelServer

from knet.base.errors import UserError
from knet.client import AsyncClient, Client, Explanation, FailedPrediction, VersionStatus
from knet.client.results import Prediction

UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "restarting")


def scores(count: int) -> list[bytes]:
    return [f"{number / count}".encode() for number in range(count)]


def test_prediction_has_all_fields(ask: Any) -> None:
    flagged, unflagged = ask("predict", [b"0.0625", b"0.75"])
    assert flagged == Prediction(
        *("benign", 0.0625, {"benign": 0.9375, "malignant": 0.0625}, 7),
        *(False, ("blurred", "noisy"), 1.5, 0.5),
    )
    assert (unflagged.label, unflagged.in_distribution, unflagged.reasons) == ("malignant", True, ())


def test_prediction_of_version_without_threshold(ask: Any, fake: FakeModelServer) -> None:
    fake.returns_threshold = False
    assert [one.threshold for one in ask("predict", [b"0.5"])] == [None]


@pytest.mark.parametrize(("group", "threshold", "positive_score"), [((), None, None), ((0, 2), 0.5, 0.375)])
def test_prediction_of_three_classes(
    ask: Any,
    fake: FakeModelServer,
    group: tuple[int, ...],
    threshold: float | None,
    positive_score: float | None,
) -> None:
    fake.classes, fake.group = (b"a", b"b", b"c"), group
    assert ask("predict", [b"0.125 0.625 0.25"]) == [
        Prediction(
            *("b", 0.625, {"a": 0.125, "b": 0.625, "c": 0.25}, 7, True, (), 1.5, threshold, positive_score)
        )
    ]


def test_predict_accepts_paths_bytes_and_arrays(ask: Any, fake: FakeModelServer, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"0.5")
    images = [tmp_path / "a.png", str(tmp_path / "a.png"), b"0.75", np.zeros((2, 3, 3), np.uint8)]
    assert [one.score for one in ask("predict", images)] == [0.5, 0.5, 0.75, 0.25]


def test_predict_each_keeps_order_and_limits_concurrency(ask: Any, fake: FakeModelServer) -> None:
    fake.seconds = 0.02
    answers = ask("predict_each", iter(scores(50)), batch=4, concurrency=3)
    assert [one.score for one in answers] == pytest.approx([number / 50 for number in range(50)])
    assert fake.max_concurrency == 3
    assert len(fake.requests) == 13


def test_predict_no_images_sends_nothing(ask: Any, fake: FakeModelServer) -> None:
    assert ask("predict", []) == []
    assert fake.requests == []


def test_predict_each_finds_bad_images_with_few_requests(
    ask: Any, fake: FakeModelServer, tmp_path: Path
) -> None:
    (tmp_path / "void.png").touch()
    images = [*scores(7), b"bad", tmp_path / "gone.png", tmp_path / "void.png"]
    answers = ask("predict_each", images, batch=10)
    assert [isinstance(one, FailedPrediction) for one in answers] == [False] * 7 + [True] * 3
    refused, gone, void = (one.reason for one in answers[7:])
    assert refused.endswith("rejected the image: send PNG or JPEG files (must be PNG or JPEG)")
    assert gone == "No such file or directory; give a PNG or JPEG file"
    assert void == "is empty; give a PNG or JPEG file"
    assert len(fake.requests) == 7  # of 8 images, and each half that holds the bad one in turn


def test_unreadable_images_are_not_sent(ask: Any, fake: FakeModelServer) -> None:
    assert [type(one) for one in ask("predict_each", [b"", b""])] == [FailedPrediction, FailedPrediction]
    assert fake.requests == []


def test_predict_error_names_the_image(ask: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^image 1: 127.* rejected the image"):
        ask("predict", [b"0.5", b"bad"])
    with pytest.raises(UserError, match=r"gone\.png: No such file"):
        ask("predict", [b"0.5", tmp_path / "gone.png"])


def test_unavailable_server_is_retried(ask: Any, fake: FakeModelServer) -> None:
    fake.failures = [UNAVAILABLE] * 2
    image = b"0.5 " + b"x" * 1_000_000  # above the default retry buffer of gRPC
    assert [one.score for one in ask("predict", [image])] == [0.5]
    assert len(fake.requests) == 3


def test_retries_are_limited(ask: Any, fake: FakeModelServer) -> None:
    fake.failures = [UNAVAILABLE] * 9
    with pytest.raises(UserError, match=r"no model server answers at 127.*\(restarting\)"):
        ask("predict", [b"0.5"], retries=1)
    assert len(fake.requests) == 2
    with pytest.raises(UserError, match="no model server answers"):
        ask("predict", [b"0.5"], retries=0)
    assert len(fake.requests) == 3


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("DEADLINE_EXCEEDED", "did not answer within 30 seconds: give a longer timeout"),
        ("UNAUTHENTICATED", "requires a valid token: give the server's"),
        ("PERMISSION_DENIED", "rejects the token: give another"),
        ("RESOURCE_EXHAUSTED", "is overloaded: try again later"),
        ("NOT_FOUND", "does not serve the model 'knet'"),
    ],
)
def test_other_errors_are_not_retried(ask: Any, fake: FakeModelServer, code: str, text: str) -> None:
    fake.failures = [(grpc.StatusCode[code], "said so")] * 2
    with pytest.raises(UserError, match=text):
        ask("predict", [b"0.5"])
    assert len(fake.requests) == 1


def test_other_grpc_errors_are_raised_unchanged(ask: Any, fake: FakeModelServer) -> None:
    fake.failures = [(grpc.StatusCode.DATA_LOSS, "lost")]
    with pytest.raises(grpc.RpcError) as caught:
        ask("predict", [b"0.5"])
    assert caught.value.code() == grpc.StatusCode.DATA_LOSS


@pytest.mark.parametrize(
    ("code", "details", "text"),
    [
        (
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: canary",
            "does not serve the model 'knet'",
        ),
        (
            "INVALID_ARGUMENT",
            "input tensor alias not found in signature: x",
            "does not support this request for",
        ),
        (
            "FAILED_PRECONDITION",
            'Serving signature key "x" not found.',
            "does not support this request for the model 'knet'",
        ),
    ],
)
def test_rejection_not_about_images_is_not_bisected(
    ask: Any, fake: FakeModelServer, code: str, details: str, text: str
) -> None:
    fake.failures = [(grpc.StatusCode[code], details)] * 9
    with pytest.raises(UserError, match=text):
        ask("predict", scores(8))
    assert len(fake.requests) == 1


def test_too_large_message_is_bisected(ask: Any, fake: FakeModelServer) -> None:
    fake.failures = [(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max")]
    assert len(ask("predict", scores(4))) == 4
    assert len(fake.requests) == 3


def test_restarted_server_is_reached(ask: Any, fake: FakeModelServer) -> None:
    fake.stop()
    back: list[FakeModelServer] = []
    port = int(fake.address.rpartition(":")[2])
    timer = Timer(0.3, lambda: back.append(FakeModelServer(port=port)))
    timer.start()
    try:
        assert [one.score for one in ask("predict", [b"0.5"])] == [0.5]
    finally:
        timer.join()
        back[0].stop()


def test_timeout_includes_retries(ask: Any, fake: FakeModelServer) -> None:
    fake.answers = 0
    with pytest.raises(UserError, match=r"within 0\.2 seconds"):
        ask("predict", [b"0.5"], timeout=0.2)
    assert len(fake.requests) <= 1  # none where the machine is too busy to send it within the limit


def test_model_version_token_and_metadata_are_sent(ask: Any, fake: FakeModelServer) -> None:
    ask("predict", [b"0.5"], model="other", version=0, token="secret", metadata={"x-ward": "7"})
    spec = fake.requests[0].model_spec
    assert (spec.name, spec.WhichOneof("version_choice"), spec.version.value) == ("other", "version", 0)
    assert fake.metadata["authorization"] == "Bearer secret" and fake.metadata["x-ward"] == "7"
    ask("status", label="stable")
    assert fake.requests[1].model_spec.version_label == "stable"


@pytest.mark.parametrize("method", ["predict", "predict_each", "explain"])
def test_patient_of_a_call_is_sent_percent_encoded(ask: Any, fake: FakeModelServer, method: str) -> None:
    settings = {"metadata": {"x-patient": "default", "x-ward": "7"}}
    ask(method, [b"0.5"], **settings)
    assert fake.metadata["x-patient"] == "default"
    ask(method, [b"0.5"], arguments={"patient": "14/9 é"}, **settings)
    assert (fake.metadata["x-patient"], fake.metadata["x-ward"]) == ("14%2F9%20%C3%A9", "7")


def test_explain_returns_heat_maps(ask: Any) -> None:
    assert ask("explain", [b"0.25", b"0.75"]) == [
        Explanation("benign", 0.25, ((0, 0.5, 1), (0, 0, 0.25)), 7),
        Explanation("malignant", 0.75, ((0, 0.5, 1), (0, 0, 0.75)), 7),
    ]


def test_status_and_signatures_are_decoded(ask: Any, fake: FakeModelServer) -> None:
    assert ask("status") == [VersionStatus(7, "AVAILABLE", ""), VersionStatus(6, "END", "no file")]
    assert ask("signatures") == {"explain": ("heat_map", "score"), "features": ()}
    fake.failures = [(grpc.StatusCode.NOT_FOUND, "Could not find any versions of model x")]
    with pytest.raises(UserError, match="does not serve the model"):
        ask("status")


def test_closed_iterator_cancels_requests(fake: FakeModelServer) -> None:
    with Client(fake.address, batch=1, concurrency=2) as client:
        next(client.predict_each(scores(100)))  # closes the iterator
        time.sleep(0.1)
        assert len(fake.requests) <= 3


def test_closed_async_iterator_cancels_requests(fake: FakeModelServer) -> None:
    async def stop_after_one() -> None:
        async with AsyncClient(fake.address, batch=1, concurrency=2) as client:
            async for _ in client.predict_each(scores(100)):
                break

    asyncio.run(stop_after_one())
    assert len(fake.requests) <= 3


def test_threads_share_a_client(fake: FakeModelServer) -> None:
    with Client(fake.address, batch=2) as client, futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.predict, [scores(7)] * 24))
    assert answers == [answers[0]] * 24 and len(answers[0]) == 7


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"timeout": 0}, r"timeout \(0\) must be above 0"),
        ({"batch": 0}, r"batch \(0\)"),
        ({"concurrency": 0}, r"concurrency \(0\)"),
        ({"retries": 5}, r"retries \(5\) 0 to 4"),
        ({"version": 1, "label": "stable"}, "version 1 and label 'stable'"),
        ({"target": "far:8500", "token": "secret"}, "the token would be sent to far:8500 unencrypted"),
        ({"token": "two words"}, "holds a space"),
        ({"token": ""}, "the token is empty"),
        ({"metadata": {"X-Ward": "7"}}, "the header 'X-Ward' cannot be sent"),
        ({"metadata": {"x-ward": "\n"}}, "the header 'x-ward' cannot be sent"),
    ],
)
def test_client_rejects_invalid_settings(kind: Any, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        kind(**settings)


@pytest.mark.parametrize("method", ["predict", "predict_each", "explain"])
@pytest.mark.parametrize("image", ["a.png", Path("a.png"), b"0.5", np.zeros((2, 2, 3), "uint8")], ids=type)
def test_one_image_for_a_list_is_an_error(ask: Any, method: str, image: Any) -> None:
    name = type(image).__name__
    with pytest.raises(UserError, match=rf"one image \({name}\) .* is expected: give \[image\]"):
        ask(method, image)
