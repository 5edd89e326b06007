"""HParams logs for TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2

from knet.tuning.results import write_hparams


def test_write_hparams_logs_each_completed_trial(tmp_path: Path) -> None:
    trials = pd.DataFrame(
        {
            "trial": [0, 1, 2],
            "state": ["completed", "failed", "completed"],
            "learning_rate": [0.1, 0.2, 0.3],
            "blocks": [0, 1, 2],
            "val_loss": [0.5, None, 0.25],
        }
    )
    write_hparams(trials, names=["learning_rate", "blocks"], objective="val_loss", folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["trial-0000", "trial-0002"]
    (file,) = (tmp_path / "trial-0002").iterdir()
    values = {
        value.tag: value
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }
    assert tf.make_ndarray(values["val_loss"].tensor) == 0.25
    content = values["_hparams_/session_start_info"].metadata.plugin_data.content
    hparams = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert {name: value.number_value for name, value in hparams.items()} == {
        "learning_rate": 0.3,
        "blocks": 2,
    }
