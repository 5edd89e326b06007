"""What a served model was asked: a log of it, and how far it is from what the model was made for."""
