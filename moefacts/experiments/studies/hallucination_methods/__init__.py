"""Ways to hallucinate less, and what they cost."""

from moefacts.experiments.studies.hallucination_methods.hallucination_methods import STUDY

__all__ = ["STUDY"]
