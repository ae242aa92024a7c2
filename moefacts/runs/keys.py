"""The names in a run's record: metric keys and cohorts. No other module spells them out."""

from moefacts.synthetic_data.cohorts import COHORTS, NEW, SEEN, UNSEEN

__all__ = ["COHORTS", "NEW", "SEEN", "UNSEEN"]

ACTIVE = "active"  # the people that an adaptive curriculum trains on, who are evaluated separately
ATTRIBUTE_LOSS, ATTRIBUTE_ACCURACY = "attribute_loss", "attribute_accuracy"
MAX_PROBABILITY, ENTROPY = "max_probability", "entropy"
EVALUATED = (ATTRIBUTE_LOSS, ATTRIBUTE_ACCURACY, MAX_PROBABILITY, ENTROPY)  # for every cohort and per attribute
LOSS_STANDARD_ERROR = "attribute_loss_standard_error"
ACCURACY_STANDARD_ERROR = "attribute_accuracy_standard_error"
CONTROL_LOSS = "control_loss"  # the attribute loss with permuted values (training.control), also per attribute
CONTROL_DIFFERENCE_STANDARD_ERROR = "control_difference_standard_error"  # of the control loss minus the attribute loss

STEP = "step"
TRAIN = "train"
TRAIN_LOSS, TRAIN_ATTRIBUTE_LOSS = f"{TRAIN}/loss", f"{TRAIN}/attribute_loss"
TRAIN_TOKENS, TRAIN_PADDING_SHARE = f"{TRAIN}/tokens", f"{TRAIN}/padding_share"
TOKENS_PER_SECOND = "throughput/tokens_per_second"
ACTIVE_INDIVIDUALS = "curriculum/active_individuals"

MAX_VIOLATION, IMPORTANCE_CV, LOAD_FRACTION = "max_violation", "importance_cv", "load_fraction"


EVALUATION_PREFIXES = ("eval/", "routing/")  # of every key that only evaluations record


def evaluation_key(cohort: str, measure: str, attribute: str | None = None, bucket: str | None = None) -> str:
    """The key of a cohort's measure, optionally for one attribute or one bucket of its people.

    >>> evaluation_key("seen", "attribute_loss", "major")
    'eval/seen/attribute_loss/major'
    """
    part = f"bucket/{bucket}/" if bucket else ""
    return f"eval/{cohort}/{part}{measure}" + (f"/{attribute}" if attribute else "")


def cohort_of_key(key: str, measure: str) -> str | None:
    """The cohort in ``key`` when it has the form ``eval/COHORT/MEASURE`` for this measure, else None."""
    parts = key.split("/")
    return parts[1] if len(parts) == 3 and parts[0] == "eval" and parts[2] == measure else None


def routing_key(layer: int, measure: str, expert: int | None = None) -> str:
    """The key of a measure of a layer's router, optionally for one expert.

    >>> routing_key(1, "load_fraction", 0)
    'routing/layer_1/load_fraction/expert_0'
    """
    return f"routing/layer_{layer}/{measure}" + ("" if expert is None else f"/expert_{expert}")


def layer_of_key(key: str, measure: str) -> int | None:
    """The layer in ``key`` when it has the form ``routing/layer_LAYER/MEASURE`` for this measure, else None."""
    parts = key.split("/")
    layer = parts[1].removeprefix("layer_") if len(parts) == 3 else ""
    return int(layer) if layer.isdecimal() and parts[0] == "routing" and parts[2] == measure else None
