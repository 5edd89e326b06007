"""Keras models: backbones, hybrid CNN+LSTM, optimiser, export and what is exported with a model."""
