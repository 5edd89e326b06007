"""TFRecord files equal those of TensorFlow."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from knet.base.errors import UserError
from knet.base.tfrecord import read_tf_records, tf_record


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records") / "records"


@given(records=st.lists(st.binary(max_size=300), max_size=4))
def test_tf_record_equals_tensorflow(records: list[bytes], file: Path) -> None:
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
    assert b"".join(map(tf_record, records)) == file.read_bytes()


@given(records=st.lists(st.binary(max_size=300), max_size=4))
def test_read_tf_records_returns_written_records(records: list[bytes], file: Path) -> None:
    file.write_bytes(b"".join(map(tf_record, records)))
    assert list(read_tf_records(file)) == records


@given(data=st.data(), record=st.binary(max_size=100))
def test_read_tf_records_detects_changed_byte(data: st.DataObject, record: bytes, file: Path) -> None:
    content = bytearray(tf_record(record))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"{file} is damaged"):
        list(read_tf_records(file))


@given(data=st.data(), record=st.binary(max_size=100))
def test_read_tf_records_detects_truncation(data: st.DataObject, record: bytes, file: Path) -> None:
    content = tf_record(record)
    file.write_bytes(content[: data.draw(st.integers(1, len(content) - 1))])
    with pytest.raises(UserError, match="is damaged"):
        list(read_tf_records(file))


def test_read_tf_records_reads_gzip(tmp_path: Path) -> None:
    file = tmp_path / "records.gz"
    with tf.io.TFRecordWriter(str(file), options="GZIP") as writer:
        for record in (b"one", b"", b"three"):
            writer.write(record)
    assert list(read_tf_records(file)) == [b"one", b"", b"three"]


@pytest.mark.parametrize("content", [gzip.compress(tf_record(b"x" * 99), mtime=0)[:-9], b"no gzip"])
def test_read_tf_records_detects_damaged_gzip(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "records.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"records\.gz is damaged \("):
        list(read_tf_records(tmp_path / "records.gz"))
