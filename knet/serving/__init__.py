"""Model store, TF Serving configuration, development server and monitoring."""
