"""No place on this machine is published."""

from __future__ import annotations

import json

from pipeline.config import load_config
from pipeline.experiments.published_config import published_config


def test_files_are_named_without_their_folders() -> None:
    overrides = [
        "data.source=/home/me/images",
        "candidates={mobilenet: {weights: /home/me/weights.h5}}",
        "metadata.host=db.home",
    ]
    published = published_config(load_config("demo", overrides))
    assert "/home/me" not in json.dumps(published)
    assert "db.home" not in json.dumps(published)
    assert published["candidates"]["mobilenet"]["weights"] == "weights.h5"
    assert published["training"]["batch_size"] == load_config("demo").training.batch_size
