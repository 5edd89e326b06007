"""TF Serving's configuration files, and how they are read; both engines are started with them."""
