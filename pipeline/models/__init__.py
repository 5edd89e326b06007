"""The hybrid CNN+LSTM models in Keras 3; no TFX here."""
