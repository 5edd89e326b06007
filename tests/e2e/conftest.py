"""Fixtures of whole runs."""

from knet_process import make_knet
