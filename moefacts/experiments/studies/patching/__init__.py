"""Figures 3, left, and D: training with attention from another moment."""

from moefacts.experiments.studies.patching.patching import STUDY

__all__ = ["STUDY"]
