"""Errors, files, storage, record formats and names; imports no other package of ours and no TensorFlow."""
