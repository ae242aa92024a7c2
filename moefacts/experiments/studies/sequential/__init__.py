"""Figures S to V: training on groups of people, one after the other."""

from moefacts.experiments.studies.sequential.sequential import STUDY

__all__ = ["STUDY"]
