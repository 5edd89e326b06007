"""Feature maps of the frozen part of a backbone, computed once and kept outside TFX's outputs."""
