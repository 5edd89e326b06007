"""Run records, the run registry and the workspace of a run."""
