"""Asking a served model over gRPC, and a development server to serve one."""
