"""One training loop, its evaluation, checkpoints and records."""
