"""The claims of law-capacity, with the rules that decide them. None is published: these are hypotheses."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from moefacts.analysis.comparison import paired_difference
from moefacts.experiments.engine.verdict import (
    DOES_NOT_HOLD,
    HOLDS,
    Claim,
    Verdict,
    above,
    below,
    cannot_tell,
    within,
)
from moefacts.experiments.studies._paired import decide_paired, log_ratio
from moefacts.experiments.studies.law_capacity.collapse import ARMS_NEEDED, compare_collapse
from moefacts.experiments.studies.law_capacity.grid import NARROW, NARROW_EXPERTS, NARROW_SLOW, WIDE, Arm
from moefacts.experiments.studies.law_capacity.points import SEEDS_NEEDED, Evidence, Step

MARGIN = 0.05  # exponents this near count as equal; those of widths 64 and 256 seemed 0.15 apart
SIZES_NEEDED = 4  # of the five: fewer give no exponent that a difference of MARGIN can be told of


@dataclass(frozen=True)
class Difference:
    """A difference between two exponents with its 95% interval, from ``count`` pairs of runs at ``sizes`` sizes."""

    mean: float
    interval: tuple[float, float]
    count: int
    sizes: int


def _where_exponents_exceed_one(evidence: Evidence) -> Verdict:
    """Decide from simultaneous intervals of every exponent and of every N/B over τ."""
    steps = evidence.steps
    if not steps:
        return cannot_tell(f"no two neighbouring sizes have plateau ends in {SEEDS_NEEDED} seeds")
    superlinear = [step for step in steps if step.exponent - evidence.exponent_half(step, len(steps)) > 1]
    known = [step for step in steps if step.has_retention]
    side = {id(step): _side(step.log_overdue, evidence.overdue_half(step, len(steps))) for step in known}
    wrong = [step for step in superlinear if side.get(id(step)) == -1]
    right = [step for step in superlinear if side.get(id(step)) == 1]
    text = f"exponent above 1 in {len(superlinear)} of {len(steps)} pairs of sizes"
    if superlinear:
        text += f": {len(right)} of them with N/B above τ, {len(wrong)} below, the others either"
    if wrong:
        return Verdict(DOES_NOT_HOLD, f"{text}; {_named(wrong[0])}")
    is_tried = any(one == -1 for one in side.values())
    if superlinear and len(right) == len(superlinear) and is_tried:
        return Verdict(HOLDS, text)
    return cannot_tell(text + ("" if is_tried else "; N/B is below τ nowhere for certain"))


def _side(value: float, half: float) -> int:
    """1 where the interval lies above 0, -1 where it lies below, 0 where it contains 0."""
    return int(np.sign(value)) if abs(value) > half else 0


def _named(step: Step) -> str:
    return f"{step.low.arm}, {step.low.size:,} to {step.high.size:,} people: {step.exponent:.2f}"


def _remembers_longer(wide: Arm, narrow: Arm, evidence: Evidence) -> Verdict:
    ours, theirs = (_time_scales(evidence, arm.name) for arm in (wide, narrow))
    return decide_paired(paired_difference(ours, theirs, log_ratio), partial(above, bound=0.0))


def _time_scales(evidence: Evidence, arm: str) -> dict[tuple[int, int], float]:
    points = (point for point in evidence.of(arm) if point.has_retention)
    return {(point.size, seed): scale for point in points for seed, scale in point.time_scale_of.items()}


def _bits_order_better(evidence: Evidence) -> Verdict:
    found = compare_collapse(evidence.steps)
    if found is None:
        return cannot_tell(f"fewer than {ARMS_NEEDED} arms have exponents and retention times")
    verdict = below(found.mean, found.interval, 0.0)
    text = f"{verdict.here}; scatter {found.by_bits:.3f} by bits and {found.by_retention:.3f} by N/B over τ"
    return Verdict(verdict.answer, text, verdict.value, verdict.interval)


def exponent_difference(evidence: Evidence, ours: str, theirs: str) -> Difference | None:
    """The exponent of one arm less that of another: how their log ratio of ends grows with log people.

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


def _same_exponent(ours: Arm, theirs: Arm, evidence: Evidence) -> Verdict:
    found = exponent_difference(evidence, ours.name, theirs.name)
    if found is None:
        return cannot_tell(f"fewer than {SIZES_NEEDED} sizes have plateau ends in {SEEDS_NEEDED} seeds of both")
    verdict = within(found.mean, found.interval, -MARGIN, MARGIN, found.count - 1)  # n - 2 degrees of freedom
    text = f"{verdict.here} over {found.count} pairs at {found.sizes} sizes"
    return Verdict(verdict.answer, text, verdict.value, verdict.interval, verdict.p_value)


def _claim(text: str, rule: str, decide: Callable[[Evidence], Verdict]) -> Claim:
    return Claim(text, "none published", rule, decide)


def _exponents_claim(text: str, ours: Arm, theirs: Arm) -> Claim:
    rule = (
        f"Slope of the log ratio of plateau ends, “{ours.name}” to “{theirs.name}”, against log people, by least "
        "squares over pairs of equal size and seed: the difference of their exponents. Holds if its 95% interval lies "
        f"inside ±{MARGIN}; does not hold if it lies outside; cannot tell otherwise, or with fewer than {SIZES_NEEDED} "
        f"sizes at which, in both, {SEEDS_NEEDED} seeds or more all have a plateau that is inside the law."
    )
    return _claim(text, rule, partial(_same_exponent, ours, theirs))


CLAIMS = (
    _claim(
        "The exponent exceeds 1 only where people are forgotten before they return: where N/B is above τ",
        "The exponent between every two neighbouring sizes of every arm, and N/B over τ halfway between them, with "
        "simultaneous 95% intervals (Bonferroni) from the scatter of seeds about their means, which is taken to be the "
        "same everywhere. Does not hold if some exponent's interval is all above 1 where that of N/B over τ is all "
        "below 1; holds if none is, there are exponents whose interval is all above 1, N/B over τ is all above 1 at "
        "each of them, and it is all below 1 somewhere; cannot tell otherwise.",
        _where_exponents_exceed_one,
    ),
    _claim(
        "At one learning rate a wider model forgets more slowly: τ grows with width",
        f"Log ratio of τ at the plateau's end, “{WIDE.name}” to “{NARROW_SLOW.name}”, averaged over pairs of equal "
        "size and seed, where τ can be told in every seed of both. Holds if its 95% interval lies above 0; does not "
        "hold if it lies below; cannot tell otherwise.",
        partial(_remembers_longer, WIDE, NARROW_SLOW),
    ),
    _claim(
        "Facts per total parameter order the exponents of all arms better than N/B over τ does",
        "The sum of squares of the exponents between neighbouring sizes about the nearest curve that never falls, over "
        "bits per total parameter and over N/B over τ; their log ratio, with an interval from a bootstrap over seeds. "
        "Holds if this 95% interval lies below 0; does not hold if it lies above; cannot tell otherwise, or with fewer "
        f"than {ARMS_NEEDED} arms with both. Errors in τ count against the second curve.",
        _bits_order_better,
    ),
    _exponents_claim("At equal total parameters the exponent is the same, whatever the width", NARROW_EXPERTS, WIDE),
    _exponents_claim("At equal width the exponent is the same, whatever the total parameters", NARROW_EXPERTS, NARROW),
)
