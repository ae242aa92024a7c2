"""The part that all studies share: plan a grid of runs, run it, and decide the claims."""
