"""The claims of law-capacity, with the rules that decide them. None is published: these are hypotheses."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from moefacts.analysis.unit import NUMBER, RATIO, Unit
from moefacts.experiments.engine.verdict import Claim, Verdict, below, cannot_tell, within
from moefacts.experiments.studies._paired import log_ratio
from moefacts.experiments.studies.law_capacity.collapse import ARMS_NEEDED, compare_collapse
from moefacts.experiments.studies.law_capacity.grid import NARROW, NARROW_EXPERTS, NARROW_SLOW, WIDE, Arm
from moefacts.experiments.studies.law_capacity.points import SEEDS_NEEDED, Evidence

MARGIN = 0.05  # exponents this near count as equal; those of widths 64 and 256 seemed 0.15 apart
SIZES_NEEDED = 4  # of the five: fewer give no exponent that a difference of MARGIN can be told of


@dataclass(frozen=True)
class Difference:
    """A difference between two exponents with its 95% interval, from ``count`` pairs of runs at ``sizes`` sizes."""

    mean: float
    interval: tuple[float, float]
    count: int
    sizes: int


def _total_orders_better(evidence: Evidence) -> Verdict:
    found = compare_collapse(evidence.steps)
    if found is None:
        return cannot_tell(f"fewer than {ARMS_NEEDED} arms have exponents, or no mixture is among them")
    verdict = below(found.mean, found.interval, 0.0)
    text = f"{verdict.here}; scatter {found.by_total:.3f} by total and {found.by_active:.3f} by active parameters"
    return Verdict(verdict.answer, text, verdict.value, verdict.interval)


def exponent_difference(evidence: Evidence, ours: str, theirs: str) -> Difference | None:
    """The exponent of one arm minus that of another: how their log ratio of ends grows with log people.

    None with fewer than ``SIZES_NEEDED`` sizes that claims use in both arms.
    """
    ends = [{point.size: point.end_of for point in evidence.of(arm) if not point.left_out} for arm in (ours, theirs)]
    pairs = [
        (np.log(size), log_ratio(ends[0][size][seed], ends[1][size][seed]))
        for size in sorted(ends[0].keys() & ends[1].keys())
        for seed in sorted(ends[0][size].keys() & ends[1][size].keys())
    ]
    sizes = len({size for size, _ in pairs})
    if sizes < SIZES_NEEDED:
        return None
    line = stats.linregress(*np.transpose(pairs))
    half = stats.t.ppf(0.975, len(pairs) - 2) * line.stderr
    return Difference(float(line.slope), (float(line.slope - half), float(line.slope + half)), len(pairs), sizes)


def _compare_exponents(ours: Arm, theirs: Arm, decide: Callable[..., Verdict], evidence: Evidence) -> Verdict:
    found = exponent_difference(evidence, ours.name, theirs.name)
    if found is None:
        return cannot_tell(f"fewer than {SIZES_NEEDED} sizes have plateau ends in {SEEDS_NEEDED} seeds of both")
    verdict = decide(found.mean, found.interval, count=found.count - 1)  # n - 2 degrees of freedom
    text = f"{verdict.here} over {found.count} pairs at {found.sizes} sizes"
    return Verdict(verdict.answer, text, verdict.value, verdict.interval, verdict.p_value)


_EXPONENT = Unit(NUMBER, "in the exponent")


def _claim(text: str, rule: str, decide: Callable[[Evidence], Verdict], unit: Unit) -> Claim:
    return Claim(text, "none published", rule, decide, unit=unit)


def _exponents_claim(
    text: str, ours: Arm, theirs: Arm, where: tuple[str, str], decide: Callable[..., Verdict]
) -> Claim:
    """A claim about a difference of exponents; ``where`` its interval lies if it holds, and if it does not."""
    rule = (
        f"Slope of the log ratio of plateau ends, “{ours.name}” to “{theirs.name}”, against log people, by least "
        "squares over pairs of equal size and seed: the difference of their exponents. Holds if its 95% interval lies "
        f"{where[0]}; does not hold if it lies {where[1]}; cannot tell otherwise, or with fewer than {SIZES_NEEDED} "
        f"sizes at which, in both, {SEEDS_NEEDED} seeds or more all have a plateau that is inside the law."
    )
    return _claim(text, rule, partial(_compare_exponents, ours, theirs, decide), _EXPONENT)


_SAME = (f"inside ±{MARGIN}", "outside"), partial(within, low=-MARGIN, high=MARGIN)
CLAIMS = (
    _exponents_claim(
        "At equal learning rate a wider model's exponent is lower",
        WIDE,
        NARROW_SLOW,
        ("below 0", "above"),
        partial(below, bound=0.0),
    ),
    _claim(
        "Facts per total parameter order the exponents of all arms better than facts per active parameter do",
        "The sum of squares of the exponents between neighbouring sizes about the nearest curve that never falls, over "
        "bits per total and over bits per active parameter; their log ratio, with an interval from a bootstrap over "
        "seeds. Holds if this 95% interval lies below 0; does not hold if it lies above; cannot tell otherwise, or "
        f"with fewer than {ARMS_NEEDED} arms that have exponents, or without a mixture, where the two are the same.",
        _total_orders_better,
        Unit(RATIO, "the sum of squares over active ones"),
    ),
    _exponents_claim(
        "At equal total parameters the exponent is the same, whatever the width", NARROW_EXPERTS, WIDE, *_SAME
    ),
    _exponents_claim(
        "At equal width the exponent is the same, whatever the total parameters", NARROW_EXPERTS, NARROW, *_SAME
    ),
)
