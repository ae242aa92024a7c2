"""People who are shown no more from the plateau's end on: how much of them is kept, and what keeps more."""

from moefacts.experiments.studies.leaving.leaving import STUDY

__all__ = ["STUDY"]
