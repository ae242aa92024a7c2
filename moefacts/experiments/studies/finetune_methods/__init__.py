"""Methods of fine-tuning compared when they know equally much of the new people."""

from moefacts.experiments.studies.finetune_methods.finetune_methods import STUDY

__all__ = ["STUDY"]
