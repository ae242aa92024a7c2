"""The claims of leaving, with the rules that decide them. None is in the paper."""

from collections.abc import Callable
from functools import partial

from moefacts.analysis.comparison import paired_difference
from moefacts.analysis.scaling_law import Point, PowerLaw, fit_power_law
from moefacts.analysis.unit import NUMBER, POINTS, RATIO, Unit
from moefacts.experiments.engine.verdict import Claim, Verdict, above, cannot_tell, within
from moefacts.experiments.studies._paired import decide_paired, log_ratio
from moefacts.experiments.studies.leaving.forgotten import LONGEST, Evidence
from moefacts.experiments.studies.leaving.grid import INTERVALS, LARGER, SIZE, SIZES, SLOWER, USUAL, WIDER

_AGREE, _ALIKE = 0.405, 0.25  # the first is the logarithm of 1.5


def _agrees(evidence: Evidence) -> Verdict:
    true = {(one.run.labels["size"], one.run.seed): one.bounds for one in evidence.leaving}
    pair = paired_difference(evidence.fitted, true, log_ratio)
    return decide_paired(pair, partial(within, low=-_AGREE, high=_AGREE))


def _is_alike(evidence: Evidence) -> Verdict:
    true = evidence.true
    missing = [key for key, tau in true.items() if tau is None]
    if missing:
        return cannot_tell(f"in {len(missing)} of {len(true)} runs the people who left are not forgotten")
    law = _fit(evidence)
    if law is None:
        return cannot_tell(f"fewer than two runs at one of {len(SIZES)} sizes")
    return within(law.b, law.b_interval, -_ALIKE, _ALIKE)


def _fit(evidence: Evidence) -> PowerLaw | None:
    """The time scale as a power law of the number of people; None with fewer than two runs at some size."""
    points = []
    for size in SIZES:
        scales = {seed: tau for (people, seed), tau in evidence.true.items() if people == size and tau is not None}
        if len(scales) < 2:
            return None
        points.append(Point(size, [*scales.values()], [0.0] * len(scales), [*scales]))
    return fit_power_law(points)


def _keeps_more(settings: str, evidence: Evidence) -> Verdict:
    pair = paired_difference(evidence.shares(settings), evidence.shares(USUAL))
    return decide_paired(pair, partial(above, bound=0.0))


def _claim(text: str, rule: str, decide: Callable[[Evidence], Verdict], unit: Unit) -> Claim:
    return Claim(text, "not in the paper", rule, decide, unit=unit)


def _more_claim(text: str, settings: str) -> Claim:
    rule = (
        f"What is known of those who left, against people never shown, {INTERVALS} N/B after they left, over its value "
        f"when they left: the difference, “{settings}” minus “{USUAL}”, averaged over pairs of runs of {SIZE:,} people "
        "with equal seeds. Holds if its 95% interval lies above 0; does not hold if it lies below; cannot tell "
        "otherwise."
    )
    return _claim(text, rule, partial(_keeps_more, settings), Unit(POINTS, "of what was known kept"))


CLAIMS = (
    _claim(
        "The time scale fitted to one checkpoint is the one in which people are forgotten",
        "Log ratio of the fitted time scale to the one of people who left, usual settings, over pairs of runs of equal "
        f"size and seed. Holds if its 95% interval lies inside ±{_AGREE} (a factor of 1.5); does not hold if it lies "
        "outside; cannot tell otherwise. Where those who left are not forgotten, their time scale is at least "
        f"{LONGEST:g} N/B.",
        _agrees,
        Unit(RATIO, "the time scale of people who left"),
    ),
    _claim(
        "People are forgotten on the same time scale, however many there are",
        "Exponent of the time scale in the number of people, usual settings, with a bootstrap over seeds. Holds if its "
        f"95% interval lies inside ±{_ALIKE:g}; does not hold if it lies outside; cannot tell otherwise, or if in some "
        "run those who left are not forgotten.",
        _is_alike,
        Unit(NUMBER, "as exponent"),
    ),
    _more_claim("A model twice as wide keeps more of the people who left", WIDER),
    _more_claim("Half the learning rate keeps more of the people who left", SLOWER),
    _more_claim("Larger batches keep more of the people who left, after as many biographies", LARGER),
)
