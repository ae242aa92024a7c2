"""What sets the plateau's length at laptop scale: schedule, width, or attention that has yet to form."""

from moefacts.experiments.studies.law_causes.law_causes import STUDY

__all__ = ["STUDY"]
