"""What training changes about its images, and nothing else may; in TensorFlow operations, for tf.data."""
