"""The local runner: Beam, MLMD, console and outputs of a run."""
