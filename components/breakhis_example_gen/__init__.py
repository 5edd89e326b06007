"""ExampleGen for image folders, archives and manifests: TFRecords split by patient."""
