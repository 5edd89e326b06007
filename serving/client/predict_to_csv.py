"""Asks about many files, and can be stopped and begun again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from serving.client.answers_table import AnswersTable
from serving.client.client import Client
from serving.client.file_answer import FileAnswer, file_name
from serving.client.predict_files import digest, predict_files
from serving.client.read_image import read_image


def predict_to_csv(
    client: Client,
    files: Sequence[Path],
    table: Path,
    *,
    on_answer: Callable[[FileAnswer, int], None] | None = None,
) -> list[FileAnswer]:
    """Adds a row for each file to a CSV file, and returns the answers in the order of the files.

    A file that has a row there already and still holds the same is not asked about again, nor is one that was
    refused; one that could not be read is tried again. Rows of other files stay.

    Args:
        client: whom to ask.
        files: PNG or JPEG files.
        table: made where it is missing.
        on_answer: called with each new answer, and how many are still to come, before its row is written.

    Raises:
        UserError: of the client, or `table` holds something else or cannot be written; what is there stays.
    """
    rows = AnswersTable(table)
    answers = dict(rows.answers)
    named = {file_name(file): file for file in files}
    left = [file for name, file in named.items() if not _is_done(file, answers.get(name))]
    for file in left:
        answers.pop(file_name(file), None)
    rows.keep(answers)
    for number, answer in enumerate(predict_files(client, left), start=1):
        if on_answer:
            on_answer(answer, len(left) - number)
        rows.add(answer)
        answers[answer.image] = answer
    return [answers[name] for name in named]


def _is_done(file: Path, answer: FileAnswer | None) -> bool:
    return bool(answer and answer.sha256 and answer.sha256 == digest(read_image(file)))
