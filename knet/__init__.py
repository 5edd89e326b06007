"""Library of the histopathology pipeline: the gRPC client, data, models, training, evaluation and serving."""
