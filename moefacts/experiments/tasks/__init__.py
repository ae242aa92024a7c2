"""Tasks that are done once: train a run, probe it, export it, write a dataset."""
