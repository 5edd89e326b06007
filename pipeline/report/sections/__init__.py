"""What the page shows, a section each: what of a run goes into the template of the same name."""
