"""ExampleGen for image files: BreaKHis, or whatever a CSV manifest lists."""
