"""Names of files and folders inside the artifacts of nodes."""

from __future__ import annotations

from typing import Final

TRAINING_SCALARS: Final = "training_scalars.parquet"  # of ExampleGen, beside the folders of the splits
STATISTICS: Final = "FeatureStats.pb"  # of StatisticsGen, in a folder for each split
ANOMALIES: Final = "SchemaDiff.pb"  # of ExampleValidator, in a folder for each split
SCHEMA: Final = "schema.pbtxt"
KERAS_MODEL: Final = "model.keras"  # of a Trainer's ModelRun, as are the histories
HISTORY: Final = "history.json"
SERVING_FORMAT: Final = "Format-Serving"  # folder of a Trainer's model; it holds the SavedModel
SAVED_MODEL: Final = "saved_model.pb"  # pushed last: a version folder without it is not complete
MODEL_INFO: Final = "assets.extra/knet.json"  # in a SavedModel, as is the next
WARM_UP_REQUESTS: Final = "assets.extra/tf_serving_warmup_requests"  # read by TF Serving
TRIALS: Final = "trials.csv"  # of the Tuner, as is the summary
SEARCH_SUMMARY: Final = "summary.json"  # a TuningRecord without its folder
GATE: Final = "gate.json"  # of ModelGate's blessing: the reasons and notes


def snapshot_file(epoch: int) -> str:
    """Return the name of the file of a Trainer's ModelRun with the weights after an epoch, from 1."""
    return f"epoch-{epoch}.weights.h5"


def split_folder(split: str) -> str:
    """Return the name of a split's folder, by TFX's convention."""
    return f"Split-{split}"
