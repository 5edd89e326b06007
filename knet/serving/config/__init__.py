"""TF Serving's configuration files, read by TF Serving and by the development server."""
