"""ExampleGen for a folder of BreaKHis images."""
