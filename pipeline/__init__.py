"""The breast histopathology pipeline: configuration, graph, models, runners and command line."""
