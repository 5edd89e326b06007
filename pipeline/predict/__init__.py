"""What `knet predict` does with the answers of a served model."""
