"""What goes into the model and comes out of it is in step with what is known of the images."""

from __future__ import annotations

import pyarrow as pa
import pytest

from components.knet_evaluator.ask_model import _values
from pipeline.errors import UserError


def test_an_image_without_a_value_does_not_lend_it_from_the_next() -> None:
    whole = pa.RecordBatch.from_pydict({"slide": [["a"], ["b"]]})
    assert _values(whole, "slide").tolist() == ["a", "b"]
    assert _values(whole.slice(1, 1), "slide").tolist() == ["b"]
    with pytest.raises(UserError, match="the feature slide has 1 values in 2 examples"):
        _values(pa.RecordBatch.from_pydict({"slide": [["a"], None]}), "slide")
