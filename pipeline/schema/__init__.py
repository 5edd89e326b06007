"""Changes to a schema, proposed from data."""
