"""The names of what a run leaves in its folder for the page, and for other programs."""

from __future__ import annotations

from typing import Final

PAGE: Final = "report.html"
RECORD: Final = "report.json"  # pipeline.run_record.RunRecord
DATA_PAGE: Final = "data.html"  # facets; where the run came that far, likewise all below
FINDINGS: Final = "data.json"  # what DataGate judged
TRAINING: Final = "training"  # <candidate>.json, as pipeline.write_history writes it
LINEAGE: Final = "lineage.json"  # the artifacts of every node
THUMBNAILS: Final = "thumbnails"  # JPEGs of test images, and INDEX, which names the file of each image
INDEX: Final = "index.json"
RESULTS: Final = "results.json"  # every figure of every candidate, as pipeline.evaluation.results has them
DECISION: Final = "decision.json"  # why which candidate won
GATE: Final = "gate.json"  # whether the winner may be pushed, and why
PREDICTIONS: Final = "predictions"  # <candidate>.parquet, as pipeline.evaluation.predictions has them
EXPLANATIONS: Final = "explanations"  # explanations.json and its pictures
TUNING: Final = "tuning"  # a folder a search: trials.csv, summary.json and plots as SVG
