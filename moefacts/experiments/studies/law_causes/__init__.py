"""What sets the plateau's length at laptop scale: the learning rate's schedule, width, forgetting, or attention."""

from moefacts.experiments.studies.law_causes.law_causes import STUDY

__all__ = ["STUDY"]
