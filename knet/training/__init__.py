"""Preprocessing, datasets, augmentation and the training loop of one candidate."""
