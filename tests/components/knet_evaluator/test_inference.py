"""Beam steps of the evaluation, called directly."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_model_analysis as tfma
from hypothesis import given
from hypothesis import strategies as st

from components.knet_evaluator import inference
from components.knet_evaluator.inference import GroupBySlice, _values
from knet.base import schema_names
from knet.base.errors import UserError


def test_values_of_an_image_without_one_are_refused() -> None:
    whole = pa.RecordBatch.from_pydict({"slide": [["a"], ["b"]]})
    assert _values(whole, "slide").tolist() == ["a", "b"]
    assert _values(whole.slice(1, 1), "slide").tolist() == ["b"]
    with pytest.raises(UserError, match="the feature slide has 1 values in 2 examples"):
        _values(pa.RecordBatch.from_pydict({"slide": [["a"], None]}), "slide")


_ROW = st.tuples(
    st.sampled_from([b"validation", b"test"]),
    st.sampled_from([b"40X", b"100X"]),
    st.sampled_from([b"a", b"b", b"c"]),  # the patient
    st.integers(0, 1),
    st.integers(0, 4).map(lambda tenths: tenths / 10),
)


def _batch(rows: list[Any]) -> dict[str, Any]:
    splits, magnifications, patients, labels, scores = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    return {
        tfma.FEATURES_KEY: {
            schema_names.PATH: np.array([b"image"] * len(rows)),
            schema_names.SPLIT: splits.astype(object),
            "magnification": magnifications.astype(object),
            schema_names.PATIENT: patients.astype(object),
        },
        tfma.LABELS_KEY: labels,
        tfma.PREDICTIONS_KEY: {schema_names.SCORE: scores, schema_names.DISTANCE: scores},
    }


def _grouped(columns: list[str], batches: list[list[Any]]) -> list[Any]:
    step = GroupBySlice(columns)
    step.start_bundle()
    found = [extracts for rows in batches for extracts in step.process(_batch(rows))]
    return found + [windowed.value for windowed in step.finish_bundle()]


def _rows(extracts: dict[str, Any]) -> list[Any]:
    texts = extracts[tfma.FEATURES_KEY]
    count = len(extracts[tfma.LABELS_KEY])
    return list(
        zip(
            [texts[schema_names.SPLIT].item()] * count,
            [texts["magnification"].item()] * count,
            np.broadcast_to(texts[schema_names.PATIENT], count),
            extracts[tfma.LABELS_KEY],
            extracts[tfma.PREDICTIONS_KEY][schema_names.SCORE],
            strict=True,
        )
    )


@given(batches=st.lists(st.lists(_ROW, min_size=1, max_size=6), max_size=5), by_patient=st.booleans())
def test_group_by_slice_preserves_rows_and_slices(batches: list[list[Any]], by_patient: bool) -> None:
    columns = [schema_names.SPLIT, "magnification", *([schema_names.PATIENT] if by_patient else [])]
    found = _grouped(columns, batches)
    assert Counter(row for extracts in found for row in _rows(extracts)) == Counter(
        chain.from_iterable(batches)
    )
    keys = [tuple(extracts[tfma.FEATURES_KEY][name].item() for name in columns) for extracts in found]
    assert len(set(keys)) == len(keys)


def test_group_by_slice_yields_many_rows_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_GROUP_SIZE", 3)
    step = GroupBySlice([schema_names.SPLIT])
    step.start_bundle()
    row = (b"test", b"40X", b"a", 1, 0.5)
    assert not list(step.process(_batch([row, row])))
    (extracts,) = step.process(_batch([row, row]))
    assert len(extracts[tfma.LABELS_KEY]) == 4
    assert not list(step.finish_bundle())
