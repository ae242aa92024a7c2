"""The training loop with its evaluation, checkpoints and records."""
