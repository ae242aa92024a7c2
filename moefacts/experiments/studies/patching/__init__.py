"""Figures 3, left, and D: attention of another moment."""

from moefacts.experiments.studies.patching.patching import STUDY

__all__ = ["STUDY"]
