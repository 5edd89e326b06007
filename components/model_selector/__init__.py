"""ModelSelector: picks the winner on validation patients."""
