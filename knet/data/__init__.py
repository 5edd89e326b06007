"""Image sets: catalogue, sources, splits, image checks, schema and validation."""
