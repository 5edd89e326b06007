"""Request log, drift analysis and the monitoring page."""
