"""Proves that the chosen model answers over gRPC before it is pushed."""
