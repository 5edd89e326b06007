"""ModelGate: blesses the winner by its metrics on test patients."""
