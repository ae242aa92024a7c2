"""Synthetic people: pools + templates -> Population -> pieces -> batches (or a dataset folder)."""
