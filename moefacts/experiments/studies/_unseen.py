"""How often studies evaluate unseen people when no claim needs them: at the first step and at the last.

Any multiple of ``evaluation.interval`` beyond the last step has this effect. The number is part of a run's identity,
so every study keeps the number of its existing runs.
"""

# Beyond the last step of every laptop run; a longer run at paper scale also evaluates them every 10,000 steps.
UNSEEN_RARELY = "evaluation.interval_unseen=10000"


def unseen_at_both_ends(interval: int, factor: int = 1_000_000) -> str:
    """The override that evaluates unseen people only at the first and the last step.

    Args:
        interval: the run's ``evaluation.interval``.
        factor: a number of intervals that together are longer than the run.
    """
    return f"evaluation.interval_unseen={factor * interval}"
