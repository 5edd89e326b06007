"""TFX components: thin shells around `knet`."""
