"""Errors, files, storage, formats and names; imports neither the rest of the project nor TensorFlow."""
