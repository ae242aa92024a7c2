"""Figure C: three phases with other settings."""

from moefacts.experiments.studies.robustness.study import STUDY

__all__ = ["STUDY"]
