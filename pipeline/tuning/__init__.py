"""The search for hyperparameters: where, on what, how it goes on after a kill, and what comes of it."""
