"""The web page of the development server."""
