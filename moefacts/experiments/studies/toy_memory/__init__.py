"""Figures Q and R, and Palit et al. 2026: forgetting in memories of two layers."""

from moefacts.experiments.studies.toy_memory.toy_memory import STUDY

__all__ = ["STUDY"]
