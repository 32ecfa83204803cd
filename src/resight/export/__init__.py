"""A trained model in files that other programs run: what is in them, how they are written, and that they are right."""
