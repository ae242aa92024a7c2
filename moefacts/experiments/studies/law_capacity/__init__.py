"""What sets the exponent of the plateau law: width, total parameters, or active parameters."""

from moefacts.experiments.studies.law_capacity.law_capacity import STUDY

__all__ = ["STUDY"]
