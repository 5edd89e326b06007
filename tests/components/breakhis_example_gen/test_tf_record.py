"""Records as TensorFlow writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components.breakhis_example_gen.tf_record import tf_record


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records") / "records"


@given(records=st.lists(st.binary(max_size=300), max_size=4))
def test_the_file_is_the_very_one_that_tensorflow_writes(records: list[bytes], file: Path) -> None:
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
    assert b"".join(map(tf_record, records)) == file.read_bytes()
