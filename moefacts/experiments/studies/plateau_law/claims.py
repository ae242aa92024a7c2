"""The claims about the plateau law, with the rules that decide them."""

from functools import partial

import numpy as np
from scipy import stats

from moefacts.analysis.law_comparison import POWER, SUBSTANTIAL
from moefacts.analysis.summary import estimate
from moefacts.analysis.unit import NUMBER, Unit
from moefacts.experiments.engine.verdict import (
    CANNOT_TELL,
    DOES_NOT_HOLD,
    HOLDS,
    Claim,
    Verdict,
    above,
    cannot_tell,
    within,
)
from moefacts.experiments.studies.phases import PLATEAU_SHARE
from moefacts.experiments.studies.plateau_law import published
from moefacts.experiments.studies.plateau_law.points import Evidence

SIZES_NEEDED, FACTOR_NEEDED, R_SQUARED_NEEDED = 5, 16, 0.99
BEND_MARGIN = 0.05  # an exponent that changes by less per doubling changes by less than 0.25 over a factor of 32
SUBLINEAR = (0, 1)  # with an exponent in between, more people means fewer biographies per person
EXPONENT_MARGIN, PREFACTOR_FACTOR = 0.1, 2  # values this near to the published ones count as equal
ENDS_MARGIN, ENDS_NEEDED = 0.1, 4  # plateau ends this near count as equal; fewer sizes do not decide
ENCOUNTERS = (5.4, 12.0)  # biographies per person at the end of the study's plateaus, fewest and most


def _too_few(evidence: Evidence) -> str:
    """Why the sizes inside the law are too few or too near to each other; empty if they are not."""
    sizes = [point.size for point in evidence.inside]
    if evidence.law is not None and len(sizes) >= SIZES_NEEDED and max(sizes) >= FACTOR_NEEDED * min(sizes):
        return ""
    return f"only {len(sizes)} sizes inside the law" + (f", {min(sizes):,} to {max(sizes):,}" if sizes else "")


def _is_power_law(evidence: Evidence) -> Verdict:
    law, few = evidence.law, _too_few(evidence)
    if law is None:
        return cannot_tell(few)
    (low, high), (least, most) = law.r_squared_interval, law.bend_interval
    found = f"R² {law.r_squared:.4f} [{low:.4f}, {high:.4f}], bend {law.bend:+.3f} [{least:+.3f}, {most:+.3f}]"
    if few:
        return cannot_tell(f"{found}, but {few}")
    is_bent = least > 0 or most < 0
    if is_bent or high < R_SQUARED_NEEDED:
        answer = DOES_NOT_HOLD
    else:
        is_straight = least >= -BEND_MARGIN and most <= BEND_MARGIN
        answer = HOLDS if is_straight and low >= R_SQUARED_NEEDED else CANNOT_TELL
    return Verdict(answer, found, law.bend, law.bend_interval)


def _is_best_law(evidence: Evidence) -> Verdict:
    laws, few = evidence.law_comparison, _too_few(evidence)
    if few or laws is None:
        return cannot_tell(few or "too few runs for AICc")
    above = {formula: law.aicc - laws[POWER].aicc for formula, law in laws.items() if formula != POWER}
    text = "AICc of " + ", ".join(f"{formula}: {value:+.1f}" for formula, value in above.items())
    least = min(above.values())
    answer = HOLDS if least >= SUBSTANTIAL else DOES_NOT_HOLD if least <= -SUBSTANTIAL else CANNOT_TELL
    return Verdict(answer, text + " against the power law's", least)


def _encounters(evidence: Evidence) -> Verdict:
    """Decide from biographies per person at every size, with simultaneous intervals from the scatter of all sizes."""
    points, few = evidence.inside, _too_few(evidence)
    freedom = sum(len(point.ends) - 1 for point in points)
    if few or not freedom:
        return cannot_tell(few or "no size has two seeds")
    logs = {p.size: np.log([end * p.batch_size / p.size for end in p.ends]) for p in points}
    scatter = np.sqrt(sum(((own - own.mean()) ** 2).sum() for own in logs.values()) / freedom)
    quantile = stats.t.ppf(1 - 0.025 / len(points), freedom)
    spans = {
        size: np.exp(own.mean() + quantile * scatter / np.sqrt(len(own)) * np.array([-1, 1]))
        for size, own in logs.items()
    }
    text = ", ".join(
        f"{size:,}: {np.exp(logs[size].mean()):.1f} [{low:.1f}, {high:.1f}]" for size, (low, high) in spans.items()
    )
    if any(high < ENCOUNTERS[0] or low > ENCOUNTERS[1] for low, high in spans.values()):
        return Verdict(DOES_NOT_HOLD, text)
    if unknown := [f"{point.size:,}" for point in evidence.points if not point.is_determined]:
        return cannot_tell(f"{text}, but no plateau end in some seed at {', '.join(unknown)}")
    inside = all(ENCOUNTERS[0] <= low and high <= ENCOUNTERS[1] for low, high in spans.values())
    return Verdict(HOLDS, text) if inside else cannot_tell(text)


def _exponent_within(low: float, high: float, evidence: Evidence) -> Verdict:
    law = evidence.law
    return cannot_tell("no fit") if law is None else within(law.b, law.b_interval, low, high)


_PREFACTORS = (published.A / PREFACTOR_FACTOR, published.A * PREFACTOR_FACTOR)


def _prefactor(evidence: Evidence) -> Verdict:
    law = evidence.law
    return cannot_tell("no fit") if law is None else within(law.a, law.a_interval, *_PREFACTORS)


def _near_published_ends(evidence: Evidence) -> Verdict:
    """Decide from the log ratio of plateau ends to the published one at every size, averaged over seeds."""
    near, apart, shown = [], [], []
    for point in evidence.points:
        if not point.is_determined or point.size not in published.ENDS:
            continue
        ratio = estimate([float(np.log(end / published.ENDS[point.size])) for end in point.ends])
        assert ratio is not None
        shown.append(f"{point.size // 1000}k ×{np.exp(ratio.mean):.2f}")
        if ratio.low is not None and ratio.high is not None:
            low, high = np.exp([ratio.low, ratio.high])
            near.append(low >= 1 - ENDS_MARGIN and high <= 1 + ENDS_MARGIN)
            apart.append(high < 1 - ENDS_MARGIN or low > 1 + ENDS_MARGIN)
    text = ", ".join(shown)
    if len(near) < ENDS_NEEDED:
        return cannot_tell(f"only {len(near)} of the published sizes have runs with two seeds: {text or 'none'}")
    if all(near):
        return Verdict(HOLDS, text)
    return Verdict(DOES_NOT_HOLD, text) if 2 * sum(apart) > len(apart) else cannot_tell(text)


def _knowledge_exponent(evidence: Evidence) -> Verdict:
    """Decide from the exponent of the ratio of the steps to 5% knowledge to the plateau's end."""
    law, sizes = evidence.knowledge.ratio_law, [point.size for point in evidence.knowledge.inside]
    if law is None or len(sizes) < SIZES_NEEDED or max(sizes) < FACTOR_NEEDED * min(sizes):
        return cannot_tell(f"5% knowledge can be told at only {len(sizes)} sizes inside the law, or at ones too near")
    return above(law.b, law.b_interval, 0.0)


_AS_EXPONENT = Unit(NUMBER, "as exponent")
_LAW = Claim(
    "The plateau's end is a power law of the number of people",
    f"R² = {published.R_SQUARED}",
    f"Holds if the whole 95% interval of R² in log-log is at least {R_SQUARED_NEEDED} and that of the bend, which is "
    f"the change of the exponent with every doubling, contains 0 and nothing beyond ±{BEND_MARGIN}; does not hold if "
    "all of that of R² is less or that of the bend does not contain 0; cannot tell otherwise, with fewer than "
    f"{SIZES_NEEDED} sizes inside the law, or if these span less than a factor of {FACTOR_NEEDED}. A size is inside "
    "the law when, in every seed, the plateau's end can be determined and the plateau lasts for at least "
    f"{PLATEAU_SHARE:.0%} of the steps up to its end.",
    _is_power_law,
    unit=Unit(NUMBER, "as bend"),
)
_BEST_LAW = Claim(
    "A power law describes the plateau's end better than T0 + c·N and than T0 + c·N^b",
    "not compared",
    "Compares AICc of the laws, fitted in logs to the runs at all sizes inside the law, with T0 at least 0. Holds if "
    f"the power law's is lower than both others' by {SUBSTANTIAL:g} or more; does not hold if one of theirs is lower "
    "by as much; cannot tell otherwise or with too few sizes, as above.",
    _is_best_law,
)
_SUBLINEAR = Claim(
    "The plateau's end grows more slowly than the number of people: each person is met less often until then",
    f"b = {published.B}",
    f"Holds if the 95% interval of b lies inside {list(SUBLINEAR)}; does not hold if it lies outside; cannot tell "
    "otherwise.",
    partial(_exponent_within, *SUBLINEAR),
    published.B,
    unit=_AS_EXPONENT,
)
_EXPONENT = Claim(
    "The exponent is that of the study",
    f"b = {published.B}",
    f"Holds if the 95% interval of b lies inside {published.B} ± {EXPONENT_MARGIN}; does not hold if it lies "
    "outside; cannot tell otherwise.",
    partial(_exponent_within, published.B - EXPONENT_MARGIN, published.B + EXPONENT_MARGIN),
    published.B,
    unit=_AS_EXPONENT,
)
_PREFACTOR = Claim(
    "The prefactor is that of the study",
    f"a = {published.A}",
    f"Holds if the 95% interval of a lies within a factor of {PREFACTOR_FACTOR} of {published.A}; does not hold if it "
    "lies outside; cannot tell otherwise.",
    _prefactor,
    published.A,
    unit=Unit(NUMBER, "steps as prefactor"),
)
_ENDS = Claim(
    "At every size the plateau ends when it does in the study",
    ", ".join(f"{size // 1000}k {end:,}" for size, end in published.ENDS.items()),
    "Compares plateau ends with the published one where all seeds have one: the geometric mean over seeds "
    f"of their ratio. Holds if its 95% interval lies within {ENDS_MARGIN:.0%} of 1 at every size; does not hold if it "
    f"lies outside at more than half of them; cannot tell otherwise or with fewer than {ENDS_NEEDED} sizes of at least "
    "two seeds.",
    _near_published_ends,
)
_ENCOUNTERS = Claim(
    "At its end, the plateau has shown each person as often as the study's do",
    f"{ENCOUNTERS[0]} to {ENCOUNTERS[1]:g} biographies per person",
    "The geometric mean over seeds of biographies per person at the plateau's end, at every size inside the law, with "
    "simultaneous 95% intervals (Bonferroni) from the scatter of seeds about their means, which is taken to be the "
    f"same at all sizes. Holds if all intervals lie inside {list(ENCOUNTERS)}; does not hold if one lies outside; "
    "cannot tell otherwise, if a plateau's end cannot be determined, or with too few sizes, as above.",
    _encounters,
)
_KNOWLEDGE = Claim(
    "Measured by knowledge in place of the loss, the exponent is larger",
    "none published",
    "The exponent of the ratio of the steps to 5% knowledge to the plateau's end, both of the same run: the difference "
    "of the two exponents. Holds if its 95% interval lies above 0; does not hold if it lies below; cannot tell "
    f"otherwise, or if fewer than {SIZES_NEEDED} sizes, or sizes that span less than a factor of {FACTOR_NEEDED}, are "
    "inside the law and have steps to 5% knowledge that can be determined in every seed.",
    _knowledge_exponent,
    unit=_AS_EXPONENT,
)
_EVERYWHERE = (_LAW, _BEST_LAW, _SUBLINEAR, _EXPONENT)
# The study's numbers of biographies are compared where the facts per parameter are the study's.
CLAIMS = {
    "laptop": (*_EVERYWHERE, _KNOWLEDGE),
    "workstation": (*_EVERYWHERE, _ENCOUNTERS, _KNOWLEDGE),
    "paper": (*_EVERYWHERE, _PREFACTOR, _ENDS, _KNOWLEDGE),
}
