"""From a model's logits to probabilities that mean what they say, and to a decision; plain NumPy."""
