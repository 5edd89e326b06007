"""Names of the files and folders that a run writes to its output folder."""

from __future__ import annotations

from typing import Final

PAGE: Final = "report.html"
RECORD: Final = "report.json"  # knet.runs.record.RunRecord
# The following exist if the run completed the nodes that write them.
DATA_PAGE: Final = "data.html"  # Facets
VALIDATION: Final = "data.json"  # DataGate's validation report
TRAINING: Final = "training"  # <candidate>.json: training history
LINEAGE: Final = "lineage.json"  # the artifacts of every node
THUMBNAILS: Final = "thumbnails"  # JPEGs of test images, and INDEX, which maps image paths to them
INDEX: Final = "index.json"
RESULTS: Final = "results.json"  # metrics of all candidates, as knet.evaluation.results defines them
DECISION: Final = "decision.json"  # the selected candidate and the reason
GATE: Final = "gate.json"  # whether the selected candidate passed the gate, and why
TRAINING_SCALARS: Final = "training_scalars.parquet"  # patient, label and pixel scalars of train images
PREDICTIONS: Final = "predictions"  # <candidate>.parquet, as knet.evaluation.predictions defines them
EXPLANATIONS: Final = "explanations"  # EXPLANATIONS_FILE and its heat maps
EXPLANATIONS_FILE: Final = "explanations.json"
TUNING: Final = "tuning"  # one folder per search: trials.csv, summary.json and plots as SVG
