"""The rules of the plateau law that are not an interval of a law's number between two bounds, in words and in code."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from moefacts.analysis.law_comparison import LINEAR, OFFSET_POWER, POWER
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.phases import PLATEAU_SHARE
from moefacts.experiments.studies.plateau_law import claims, published

LAW, BEST, ENDS, ENCOUNTERS = (
    next(one for one in (*claims.CLAIMS["paper"], *claims.CLAIMS["workstation"]) if one.decide is function)
    for function in (claims._is_power_law, claims._is_best_law, claims._near_published_ends, claims._encounters)
)
EPSILON = 1e-6


def numbers(rule):
    return [float(one) for one in re.findall(r"[\d.]*\d", rule.replace("95%", ""))]


def law_evidence(interval, *sizes, bend=(-0.01, 0.02)):
    law = interval and SimpleNamespace(
        r_squared=sum(interval) / 2, r_squared_interval=interval, bend=sum(bend) / 2, bend_interval=bend
    )
    return SimpleNamespace(law=law, inside=[SimpleNamespace(size=size) for size in sizes], points=[])


ENOUGH = (1000, 2000, 4000, 8000, 16000)


def test_the_law_holds_with_intervals_of_a_good_and_straight_fit_and_does_not_with_one_of_a_bad_or_bent_one():
    bound, zero, margin, zero_too, num_sizes, factor, share = numbers(LAW.rule)
    assert zero == zero_too == 0
    sizes = [100, *(100 + 50 * n for n in range(1, int(num_sizes) - 1)), 100 * factor]

    def answer(interval, *bend):
        return LAW.decide(law_evidence(interval, *sizes, bend=bend)).answer

    assert answer((bound, 1.0), -margin, margin) == HOLDS
    assert answer((0.5, bound - EPSILON), -margin, margin) == DOES_NOT_HOLD
    assert answer((bound, 1.0), EPSILON, margin) == answer((bound, 1.0), -margin, -EPSILON) == DOES_NOT_HOLD
    assert answer((0.5, 1.0), EPSILON, margin) == DOES_NOT_HOLD  # bent, whatever R² is
    assert answer((bound - EPSILON, 1.0), -margin, margin) == CANNOT_TELL
    assert answer((0.5, bound), -margin, margin) == CANNOT_TELL
    assert answer((bound, 1.0), -margin, margin + EPSILON) == CANNOT_TELL  # it may be straight, and may be bent
    assert answer((bound, 1.0), -margin - EPSILON, margin) == CANNOT_TELL
    assert LAW.decide(law_evidence((1.0, 1.0), *sizes[1:])).answer == CANNOT_TELL
    assert LAW.decide(law_evidence((1.0, 1.0), *sizes[:-1], sizes[-1] - 1)).answer == CANNOT_TELL
    assert LAW.decide(law_evidence(None)).answer == CANNOT_TELL
    assert share == 100 * PLATEAU_SHARE


def test_the_verdict_on_the_law_gives_r_squared_and_the_bend_or_why_there_are_too_few_sizes():
    verdict = LAW.decide(law_evidence((0.991, 0.999), *ENOUGH))
    found = "R² 0.9950 [0.9910, 0.9990], bend +0.005 [-0.010, +0.020]"
    assert (verdict.here, verdict.value, verdict.interval) == (found, pytest.approx(0.005), (-0.01, 0.02))
    few = LAW.decide(law_evidence((0.991, 0.999), *ENOUGH[:4])).here
    assert few == f"{found}, but only 4 sizes inside the law, 1,000 to 8,000"
    wide = LAW.decide(law_evidence((0.991, 0.999), 1000, 8000, 32000))  # a wide enough range, but too few sizes
    assert (wide.answer, wide.here) == (CANNOT_TELL, f"{found}, but only 3 sizes inside the law, 1,000 to 32,000")
    assert LAW.decide(law_evidence(None, *ENOUGH[:2])).here == "only 2 sizes inside the law, 1,000 to 2,000"
    assert LAW.decide(law_evidence(None)).here == "only 0 sizes inside the law"
    for claim in claims.CLAIMS["paper"][2:5]:
        without = claim.decide(law_evidence(None))
        assert (without.answer, without.here) == (CANNOT_TELL, "no fit")


def decide_best_law(linear, offset, sizes=ENOUGH):
    """The verdict when the AICc of the other two laws is this far above the power law's."""
    evidence = law_evidence((0.991, 0.999), *sizes)
    aicc = {POWER: -50.0, LINEAR: -50.0 + linear, OFFSET_POWER: -50.0 + offset}
    evidence.law_comparison = {formula: SimpleNamespace(aicc=value) for formula, value in aicc.items()}
    return BEST.decide(evidence)


def test_a_power_law_is_the_best_if_no_other_law_comes_near_it_and_is_not_if_one_is_as_much_better():
    margin = numbers(BEST.rule.replace("T0", ""))[1]
    assert decide_best_law(margin, margin).answer == HOLDS
    assert decide_best_law(margin, margin - EPSILON).answer == decide_best_law(0, 30).answer == CANNOT_TELL
    assert decide_best_law(30, -margin).answer == decide_best_law(-margin, 30).answer == DOES_NOT_HOLD
    assert decide_best_law(30, -margin + EPSILON).answer == CANNOT_TELL
    assert decide_best_law(30, 30, ENOUGH[:4]).here == "only 4 sizes inside the law, 1,000 to 8,000"
    assert decide_best_law(7.71, -3).here == "AICc of T0 + c·N: +7.7, T0 + c·N^b: -3.0 against the power law's"
    without = law_evidence((0.991, 0.999), *ENOUGH)
    without.law_comparison = None
    assert (BEST.decide(without).answer, BEST.decide(without).here) == (CANNOT_TELL, "too few runs for AICc")


def decide_encounters(*means, scatter=0.01, seeds=3, sizes=ENOUGH, undetermined=()):
    """The verdict on sizes whose plateaus end after ``means`` biographies per person, two seeds to either side."""
    spread = np.exp(scatter * np.linspace(-1, 1, seeds)) if seeds > 1 else [1.0]
    points = [
        SimpleNamespace(
            size=size,
            batch_size=32,
            ends=[mean * size / 32 * one for one in spread],
            is_determined=size not in undetermined,
        )
        for size, mean in zip(sizes, means, strict=True)
    ]
    inside = [point for point in points if point.is_determined]
    return ENCOUNTERS.decide(SimpleNamespace(points=points, inside=inside, law="any"))


def test_people_are_met_as_often_as_in_the_study_where_all_intervals_are_inside_its_range():
    few, most = claims.ENCOUNTERS
    assert (round(min(published.ENCOUNTERS.values()), 1), max(published.ENCOUNTERS.values())) == (few, most)
    assert decide_encounters(6, 7, 8, 9, 11).answer == HOLDS
    assert decide_encounters(6, 7, 8, 9, 13).answer == decide_encounters(4, 7, 8, 9, 11).answer == DOES_NOT_HOLD
    assert decide_encounters(few, 7, 8, 9, 11).answer == decide_encounters(6, 7, 8, 9, most).answer == CANNOT_TELL
    assert decide_encounters(6, 7, 8, 9, 13, scatter=0.3).answer == CANNOT_TELL
    assert decide_encounters(6, 7, 8, 9, 11, scatter=0.3).answer == CANNOT_TELL
    assert decide_encounters(6, 7, 8, 9, 11, seeds=1).here == "no size has two seeds"
    assert decide_encounters(6, 7, 8, 9, sizes=ENOUGH[:4]).here == "only 4 sizes inside the law, 1,000 to 8,000"
    sizes = (*ENOUGH, 32000)
    open_end = decide_encounters(6, 7, 8, 9, 11, 9, sizes=sizes, undetermined=(32000,))
    assert (open_end.answer, "no plateau end in some seed at 32,000" in open_end.here) == (CANNOT_TELL, True)


def test_the_intervals_of_encounters_are_simultaneous_and_from_the_scatter_of_all_sizes():
    """Two seeds 0.1 apart in logs at one size and equal ones at four: the variance is 0.1² / 2 over 5 freedoms."""
    points = [
        SimpleNamespace(size=size, batch_size=32, ends=[8 * size / 32, 8 * size / 32 * ratio], is_determined=True)
        for size, ratio in zip(ENOUGH, (np.exp(0.1), 1, 1, 1, 1), strict=True)
    ]
    here = ENCOUNTERS.decide(SimpleNamespace(points=points, inside=points, law="any")).here
    half = stats.t.ppf(1 - 0.025 / 5, 5) * np.sqrt(0.1**2 / 2 / 5) / np.sqrt(2)
    low, high = (8 * np.exp(0.05 + side * half) for side in (-1, 1))
    assert here.startswith(f"1,000: {8 * np.exp(0.05):.1f} [{low:.1f}, {high:.1f}], 2,000: 8.0 [")


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
    margin, needed = claims.ENDS_MARGIN, claims.ENDS_NEEDED
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
