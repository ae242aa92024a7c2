"""The claims about what sets the plateau's length, with the rules that decide them."""

from collections.abc import Callable
from functools import partial

from moefacts.analysis.unit import NUMBER, RATIO, Unit
from moefacts.experiments.engine.verdict import Claim, Verdict, above, below, cannot_tell, within
from moefacts.experiments.studies._arms import END
from moefacts.experiments.studies._paired import decide_paired
from moefacts.experiments.studies._units import PLATEAU_RATIO
from moefacts.experiments.studies.law_causes.evidence import KNOWN, PAIRS_NEEDED, Evidence, Pairs
from moefacts.experiments.studies.law_causes.grids import COSINE, FINISHED, SIZES, USUAL, WIDER

EARLIER = 0.05  # 5% knowledge that comes earlier by less, in logs, comes no earlier
EXPONENT_MARGIN = 0.1  # exponents that differ by less count as equal
MOST = -0.69  # log ratio of ends below which finished attention saves more than half of the steps


def decide_ratio(measure: str, pairs: Pairs, decide: Callable[..., Verdict], evidence: Evidence) -> Verdict:
    """Apply ``decide`` to the mean log ratio of a measure over pairs of arms."""
    return decide_paired(evidence.ratio(measure, pairs), decide)


def _same_exponent(evidence: Evidence) -> Verdict:
    """Decide from the exponent of the ratio of ends over the number of people."""
    law, own, finished = evidence.ratio_law, evidence.law(USUAL), evidence.law(FINISHED)
    if unknown := evidence.open_pairs():
        return cannot_tell(unknown)
    if law is None or len(law.residuals) < len(SIZES):
        return cannot_tell(f"some size has fewer than {PAIRS_NEEDED} pairs of runs")
    verdict = within(law.b, law.b_interval, -EXPONENT_MARGIN, EXPONENT_MARGIN)
    assert own is not None
    assert finished is not None
    text = f"{finished.b:.2f} instead of {own.b:.2f}: {law.b:+.3f} [{law.b_interval[0]:+.3f}, {law.b_interval[1]:+.3f}]"
    return Verdict(verdict.answer, text, law.b, law.b_interval)


def _rule(what: str, bound: str, side: str) -> str:
    other = {"above": "below", "below": "above"}[side]
    return (
        f"Log ratio of {what}, averaged over pairs of equal size and seed. Holds if its 95% interval lies {side} "
        f"{bound}; does not hold if it lies {other}; cannot tell otherwise."
    )


_NONE = "none published"
CLAIMS = (
    Claim(
        "Schedule: a learning rate that falls (cosine) ends the plateau earlier than a constant one",
        _NONE,
        _rule("plateau ends, cosine to constant rate", "0", "below"),
        partial(decide_ratio, END, ((COSINE, USUAL),), partial(below, bound=0.0)),
        unit=PLATEAU_RATIO,
    ),
    Claim(
        "Schedule: with a cosine persons are known no earlier, so where the plateau ends earlier, its floor has moved",
        _NONE,
        _rule(
            "the steps to 5% knowledge of persons, cosine to constant rate", f"-{EARLIER}, which is 5% earlier", "above"
        )
        + " A run that does not reach it would later than its last step.",
        partial(decide_ratio, KNOWN, ((COSINE, USUAL),), partial(above, bound=-EARLIER)),
        unit=Unit(RATIO, "the steps to 5% knowledge"),
    ),
    Claim(
        "Width: of equally many people, a wider model needs to see each fewer times before the plateau ends",
        _NONE,
        _rule("plateau ends per doubling of width, at equal learning rate", "0", "below"),
        partial(decide_ratio, END, WIDER, partial(below, bound=0.0)),
        unit=PLATEAU_RATIO,
    ),
    Claim(
        "Attention: with finished attention from the start, most of the plateau is gone: it ends in less than half the "
        "steps",
        "removed",
        _rule("plateau ends, finished to own attention", f"{MOST}, which is half", "below"),
        partial(decide_ratio, END, ((FINISHED, USUAL),), partial(below, bound=MOST)),
        unit=PLATEAU_RATIO,
    ),
    Claim(
        "Attention: what is left grows as fast with the number of people, so storing facts alone gives the law its "
        "exponent",
        _NONE,
        f"The exponent over {SIZES[0]:,} to {SIZES[-1]:,} people of the plateau end with finished attention over that "
        "with own attention: the difference of their exponents. Holds if its 95% interval lies inside "
        f"±{EXPONENT_MARGIN}; does not hold if it lies outside; cannot tell otherwise, if the end of some run is not "
        f"known, or if some size has fewer than {PAIRS_NEEDED} pairs.",
        _same_exponent,
        unit=Unit(NUMBER, "in the exponent"),
    ),
)
