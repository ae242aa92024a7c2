"""Figure 2, right: the plateau-length law."""

from moefacts.experiments.studies.plateau_law.mixtures import STUDY as MIXTURES_STUDY
from moefacts.experiments.studies.plateau_law.plateau_law import RATES_STUDY, STUDY

__all__ = ["MIXTURES_STUDY", "RATES_STUDY", "STUDY"]
