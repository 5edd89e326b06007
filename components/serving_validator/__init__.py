"""ServingValidator: loads the winner in a server and compares its predictions."""
