"""Asks a model once about every validation and test image: metrics by TFMA, and a table of the answers."""
