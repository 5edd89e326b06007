"""Published settings hold nothing of the machine."""

from __future__ import annotations

import json

from pipeline.config.load import load_config
from pipeline.experiments.provenance import published_config


def test_published_config_has_no_folders_and_servers() -> None:
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
