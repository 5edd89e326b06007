"""The folder of the served versions of a model: what is pushed, rolled back and pruned there."""
