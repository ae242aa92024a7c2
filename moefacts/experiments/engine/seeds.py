"""The seeds of a study's runs."""

_MOST = 100  # seeds at one population size


def seeds_for(size: int, count: int) -> range:
    """``count`` seeds for runs on ``size`` people, which no other size has.

    With one seed, a small population is the beginning of a larger one, and runs of both start from the same weights and
    see sentences in the same order. Their differences are then not independent. So every size has seeds of its own, and
    all runs of that size that are compared share them.
    """
    assert 0 < count <= _MOST
    return range(_MOST * size, _MOST * size + count)
