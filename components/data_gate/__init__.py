"""DataGate: stops the run on data anomalies."""
