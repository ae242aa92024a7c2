"""The rules of the plateau law that are not an interval of a law's number between two bounds, in words and in code."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.phases import PLATEAU_SHARE
from moefacts.experiments.studies.plateau_law import plateau_law, published

LAW, ENDS = (
    next(one for one in plateau_law.STUDY.claims["paper"] if one.decide is function)
    for function in (plateau_law._is_power_law, plateau_law._near_published_ends)
)
EPSILON = 1e-6


def numbers(rule):
    return [float(one) for one in re.findall(r"[\d.]*\d", rule.replace("95%", ""))]


def law_evidence(interval, *sizes):
    law = interval and SimpleNamespace(r_squared=sum(interval) / 2, r_squared_interval=interval)
    return SimpleNamespace(law=law, inside=[SimpleNamespace(size=size) for size in sizes], points=[])


def test_the_law_holds_with_an_interval_of_r_squared_above_the_bound_and_does_not_with_one_below():
    bound, num_sizes, factor, share = numbers(LAW.rule)
    sizes = [100, *(100 + 50 * n for n in range(1, int(num_sizes) - 1)), 100 * factor]
    assert LAW.decide(law_evidence((bound, 1.0), *sizes)).answer == HOLDS
    assert LAW.decide(law_evidence((0.5, bound - EPSILON), *sizes)).answer == DOES_NOT_HOLD
    assert LAW.decide(law_evidence((bound - EPSILON, 1.0), *sizes)).answer == CANNOT_TELL
    assert LAW.decide(law_evidence((0.5, bound), *sizes)).answer == CANNOT_TELL
    assert LAW.decide(law_evidence((1.0, 1.0), *sizes[1:])).answer == CANNOT_TELL
    assert LAW.decide(law_evidence((1.0, 1.0), *sizes[:-1], sizes[-1] - 1)).answer == CANNOT_TELL
    assert LAW.decide(law_evidence(None)).answer == CANNOT_TELL
    assert share == 100 * PLATEAU_SHARE


def test_the_verdict_on_the_law_gives_r_squared_or_why_there_are_too_few_sizes():
    sizes = (1000, 2000, 4000, 8000, 16000)
    verdict = LAW.decide(law_evidence((0.991, 0.999), *sizes))
    assert (verdict.here, verdict.value, verdict.interval) == ("R² 0.9950 [0.9910, 0.9990]", 0.995, (0.991, 0.999))
    few = LAW.decide(law_evidence((0.991, 0.999), *sizes[:4])).here
    assert few == "R² 0.9950, but only 4 sizes inside the law, 1,000 to 8,000"
    wide = LAW.decide(law_evidence((0.991, 0.999), 1000, 8000, 32000))  # a wide enough range, but too few sizes
    assert (wide.answer, wide.here) == (CANNOT_TELL, "R² 0.9950, but only 3 sizes inside the law, 1,000 to 32,000")
    assert LAW.decide(law_evidence(None, *sizes[:2])).here == "only 2 sizes inside the law, 1,000 to 2,000"
    assert LAW.decide(law_evidence(None)).here == "only 0 sizes inside the law"
    for claim in plateau_law.STUDY.claims["paper"][1:4]:
        without = claim.decide(law_evidence(None))
        assert (without.answer, without.here) == (CANNOT_TELL, "no fit")


def decide_ends(*ratios, scatter=0.0, seeds=3, is_determined=True):
    """The verdict on ends that are ``ratios`` of the published ones, each ``scatter`` to either side of that."""
    spread = np.exp(scatter * np.linspace(-1, 1, seeds)) if seeds > 1 else [1.0]
    points = [
        SimpleNamespace(size=size, ends=[ratio * end * one for one in spread], is_determined=is_determined)
        for (size, end), ratio in zip(published.ENDS.items(), ratios, strict=False)
    ]
    points += [SimpleNamespace(size=512, ends=(3.0,), is_determined=True)]
    return ENDS.decide(SimpleNamespace(points=points))


def test_the_published_ends_are_met_by_intervals_near_them_and_missed_by_more_than_half_outside():
    margin, needed = plateau_law.ENDS_MARGIN, plateau_law.ENDS_NEEDED
    assert f"within {margin:.0%} of 1" in ENDS.rule
    assert f"fewer than {needed} sizes" in ENDS.rule
    near, high, low = 1 + margin - EPSILON, 1 + margin + EPSILON, 1 - margin - EPSILON
    assert decide_ends(*[near] * needed).answer == decide_ends(*[2 - near] * needed).answer == HOLDS
    assert decide_ends(*[near] * (needed - 1)).answer == CANNOT_TELL
    assert decide_ends(high, low, near, near).answer == CANNOT_TELL  # half is not more than half
    assert decide_ends(high, low, high, near).answer == decide_ends(*[low] * 4).answer == DOES_NOT_HOLD


@pytest.mark.parametrize("ratio", [1.0, 1.5])
def test_the_published_ends_are_not_judged_by_seeds_that_scatter_or_stand_alone(ratio):
    assert decide_ends(*[ratio] * 5, scatter=0.3).answer == CANNOT_TELL
    assert decide_ends(*[ratio] * 5, seeds=1).answer == CANNOT_TELL
    assert decide_ends(*[ratio] * 5, is_determined=False).answer == CANNOT_TELL


def test_the_verdict_on_the_published_ends_names_the_ratio_at_each_size():
    assert decide_ends(1.0, 1.0, 1.05, 0.95).here == "4k ×1.00, 8k ×1.00, 16k ×1.05, 32k ×0.95"
    few = "only 3 of the published sizes have runs with two seeds: 4k ×1.00, 8k ×1.00, 16k ×1.00"
    assert decide_ends(1.0, 1.0, 1.0).here == few
    assert decide_ends().here == "only 0 of the published sizes have runs with two seeds: none"
