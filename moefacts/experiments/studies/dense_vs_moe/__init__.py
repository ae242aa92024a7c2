"""What a mixture of experts changes; not in the paper."""

from moefacts.experiments.studies.dense_vs_moe.dense_vs_moe import STUDY
from moefacts.experiments.studies.dense_vs_moe.rates import STUDY as RATES_STUDY

__all__ = ["RATES_STUDY", "STUDY"]
