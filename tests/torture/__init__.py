"""Faults in large numbers: python -m tests.torture KIND --count 5000 --seed 0. ``make test`` runs a few of each kind."""
