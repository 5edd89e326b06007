"""Whether an image is one that the model was made for; plain NumPy."""
