"""What a mixture of experts changes; not in the paper."""

from moefacts.experiments.studies.dense_vs_moe.dense_vs_moe import STUDY

__all__ = ["STUDY"]
