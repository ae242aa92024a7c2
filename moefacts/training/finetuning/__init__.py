"""Training methods that need more than a few lines, one a file."""
