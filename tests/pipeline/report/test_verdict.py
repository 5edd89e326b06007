"""What a run came to, in a word and a line."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.report.verdict import verdict
from pipeline.run_record import RunRecord

MakeRecord = Callable[..., RunRecord]


def test_a_pushed_run_names_winner_version_and_why(make_record: MakeRecord) -> None:
    found = verdict(make_record(choice="highest accuracy"))
    assert found.word == "pushed"
    assert found.why == "mobilenet is served as version 1706702400: highest accuracy"


def test_a_refused_run_gives_every_reason_in_one_line(make_record: MakeRecord) -> None:
    found = verdict(make_record(refusals=("recall is 0.1", "f1 is 0.2"), pushed_version=None))
    assert (found.word, found.why) == ("refused", "mobilenet was not pushed: recall is 0.1; f1 is 0.2")


def test_a_failed_run_gives_the_error(make_record: MakeRecord) -> None:
    found = verdict(make_record(error="Transform: no space left", pushed_version=None))
    assert (found.word, found.why) == ("failed", "Transform: no space left")


def test_a_winner_that_a_server_did_not_answer_with_is_refused(make_record: MakeRecord) -> None:
    found = verdict(make_record(pushed_version=None))
    assert found.word == "refused" and "the server" in found.why
