"""Synthetic people and their biographies: pools + templates -> Population -> pieces -> batches or a dataset folder."""
