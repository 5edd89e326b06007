"""The report page of a run and the queries on runs."""
