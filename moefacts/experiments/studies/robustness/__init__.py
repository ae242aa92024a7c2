"""Figure C: three phases with other settings."""

from moefacts.experiments.studies.robustness.robustness import STUDY

__all__ = ["STUDY"]
