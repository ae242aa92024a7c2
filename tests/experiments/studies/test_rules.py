"""The rule of every claim in words agrees with its rule in code. The tests read the numbers from the words.

If a rule compares an interval with a bound, the code must give the right answer for intervals just on either side of
it. Every other rule has its own test below, or in ``test_plateau_law_rules.py`` or ``test_power_law_rules.py``.
"""

import re
from types import SimpleNamespace

import pytest

from moefacts.analysis.comparison import Paired
from moefacts.analysis.summary import Estimate
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies import (
    _arms,
    _by_arm,
    _trained,
    adaptive,
    alternating,
    attention,
    celebrities,
    finetune,
    phases,
    power_law,
    templates,
)
from moefacts.experiments.studies.catalog import STUDIES
from moefacts.experiments.studies.dense_vs_moe import comparison as dense_comparison
from moefacts.experiments.studies.dense_vs_moe import rates
from moefacts.experiments.studies.finetune_methods import finetune_methods
from moefacts.experiments.studies.law_capacity import claims as capacity
from moefacts.experiments.studies.law_capacity.collapse import Collapse
from moefacts.experiments.studies.law_causes import evidence as law_causes
from moefacts.experiments.studies.leaving import claims as leaving
from moefacts.experiments.studies.patching import patching as patching
from moefacts.experiments.studies.plateau_law import claims as law_claims
from moefacts.experiments.studies.plateau_law import plateau_law as plateau_law
from moefacts.experiments.studies.robustness import robustness as robustness
from moefacts.experiments.studies.sequential import sequential as sequential
from moefacts.experiments.studies.toy_memory import claims as toy_claims
from moefacts.runs.thresholds import PLATEAU_CEILING, PLATEAU_FLOOR

NUMBER = r"(-?[\d.]*\d%?)"
CLAIMS = [
    pytest.param(study, claim, id=f"{study.name}-{scale}-{number}")
    for study in STUDIES.values()
    for scale in study.claims
    for number, claim in enumerate(study.claims[scale])
]
EPSILON = 1e-6
TUNED = (_by_arm, finetune, leaving)


def number(text):
    return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)


def bounds(claim):
    """(low, high), between which the interval must lie according to the words. Either may be None, for no bound.

    None if the rule is not about an interval.
    """
    rule = claim.rule
    if found := re.search(rf"interval[^:;]*? lies (above|below) {NUMBER}", rule):
        bound = number(found[2])
        other = "below" if found[1] == "above" else "above"
        assert re.search(rf"; does not hold if it lies {other}[,;]", rule)
        assert "; cannot tell otherwise" in rule
        return (bound, None) if found[1] == "above" else (None, bound)
    if found := re.search(rf"lies inside \[{NUMBER}, {NUMBER}\]", rule):
        limits = number(found[1]), number(found[2])
    elif found := re.search(rf"lies inside {NUMBER} ± {NUMBER}", rule):
        limits = number(found[1]) - number(found[2]), number(found[1]) + number(found[2])
    elif found := re.search(rf"lies inside ±{NUMBER}", rule):
        limits = -number(found[1]), number(found[1])
    elif found := re.search(rf"lies within a factor of {NUMBER} of {NUMBER}", rule):
        limits = number(found[2]) / number(found[1]), number(found[2]) * number(found[1])
    elif found := re.search(rf"lies within {NUMBER} percentage points of the published one", rule):
        middle, margin = number(claim.published), number(found[1]) / 100
        limits = middle - margin, middle + margin
    else:
        return None
    assert "; does not hold if it lies outside; cannot tell otherwise" in rule
    return limits


@pytest.fixture
def answer(monkeypatch):
    """A function that gives the answer of a claim's code to an interval, whatever the study measures."""

    def decide(study, claim, low, high):
        middle = (low + high) / 2
        found = Paired(middle, (low, high), 5, 0)
        for module in (
            _arms,
            alternating,
            celebrities,
            finetune_methods,
            power_law,
            dense_comparison,
            sequential,
            law_causes,
            toy_claims,
            *TUNED,
        ):
            monkeypatch.setattr(module, "paired_difference", lambda *_: found)
        for module in (phases, templates, attention, toy_claims, _by_arm):
            monkeypatch.setattr(module, "estimate", lambda _: Estimate(middle, low, high, 5, 0, (middle,) * 5))
        difference = capacity.Difference(middle, (low, high), 15, 5)
        monkeypatch.setattr(capacity, "exponent_difference", lambda *_: difference)
        monkeypatch.setattr(capacity, "compare_collapse", lambda _: Collapse(middle, (low, high), 0.1, 0.1))
        law = SimpleNamespace(a=middle, a_interval=(low, high), b=middle, b_interval=(low, high), residuals=(0,) * 4)
        is_law = study in (plateau_law.STUDY, plateau_law.RATES_STUDY)
        for module in (law_causes, leaving):
            monkeypatch.setattr(module, "_fit", lambda _: law)
        if study.name == "law-causes":
            evidence = law_causes.Evidence([])
        else:
            knowledge = SimpleNamespace(ratio_law=law, inside=[SimpleNamespace(size=2**k) for k in range(9, 14)])
            evidence = SimpleNamespace(law=law, knowledge=knowledge) if is_law else study.examine([]).evidence
        verdict = claim.decide(evidence)
        assert verdict.interval == pytest.approx((low, high))
        return verdict.answer

    return decide


@pytest.mark.parametrize(("study", "claim"), [one for one in CLAIMS if bounds(one.values[1])])
def test_the_code_answers_as_the_words_say_for_intervals_on_either_side_of_the_bound(answer, study, claim):
    low, high = bounds(claim)
    is_accuracy = study is phases.STUDY  # accuracies and their intervals lie between 0 and 1
    step = EPSILON
    if low is not None and not (is_accuracy and low < 0):
        assert answer(study, claim, low + step, low + 2 * step) == HOLDS
        assert answer(study, claim, low - 2 * step, low - step) == DOES_NOT_HOLD
        assert answer(study, claim, low - step, low + step) == CANNOT_TELL
    if high is not None and not (is_accuracy and high > 1):
        assert answer(study, claim, high - 2 * step, high - step) == HOLDS
        assert answer(study, claim, high + step, high + 2 * step) == DOES_NOT_HOLD
        assert answer(study, claim, high - step, high + step) == CANNOT_TELL


def test_every_other_rule_has_a_test():
    others = {one.values[1].decide for one in CLAIMS if not bounds(one.values[1])}
    functions = {getattr(decide, "func", decide) for decide in others}
    assert functions == {
        law_claims._is_power_law, law_claims._is_best_law, law_claims._encounters, law_claims._near_published_ends,
        phases._three_phases, robustness._phases_in_all,
        patching._no_plateau, adaptive._matters_everywhere, power_law._shortest_when_mild, power_law._falls_with_steps,
        power_law._grows_with_people, rates._is_inside,
    }  # fmt: skip


def claim_of(study, function, scale="paper"):
    return next(c for c in study.claims[scale] if getattr(c.decide, "func", c.decide) is function)


def numbers(rule):
    return [number(one) for one in re.findall(NUMBER, rule)]


def phased(start, end, status="reached", arm=None):
    measures = {
        "plateau_start": start,
        "plateau_start_low": start,
        "plateau_start_high": start,
        "plateau_end_interpolated": end,
        "plateau_end_status": status,
    }
    measures |= {"plateau_end_reason": status, "last_step": 100}
    return SimpleNamespace(
        seed=0, measures=measures, labels={"arm": arm, "size": 1, "part": "mixer", "value": f"{start} {end} {status}"}
    )


UNCLEAR, STOPS = phased(60, 400, "cannot tell"), phased(60, None, "not reached")


def share_in(rule):
    return number(re.search(rf"lasts (?:at least|less than) {NUMBER} of the steps", rule)[1])


def needed_in(rule, what):
    return int(number(re.search(rf"fewer than {NUMBER} {what}", rule)[1]))


def test_the_rule_of_three_phases():
    claim = claim_of(phases.STUDY, phases._three_phases)
    share = share_in(claim.rule)
    just, melted = phased(100 * (1 - share), 100), phased(100 * (1 - share) + EPSILON, 100)
    needed = needed_in(claim.rule, "seeds")
    assert claim.decide([just] * needed).answer == HOLDS
    assert claim.decide([just] * (needed - 1)).answer == claim.decide([melted] * (needed - 1)).answer == CANNOT_TELL
    assert claim.decide([just, melted]).answer == claim.decide([UNCLEAR, STOPS, melted]).answer == DOES_NOT_HOLD
    assert claim.decide([just, UNCLEAR]).answer == claim.decide([just, STOPS]).answer == CANNOT_TELL
    ceiling, floor = re.search(
        rf"within {NUMBER} of the baseline and later falls below {NUMBER} of it", claim.rule
    ).groups()
    assert number(ceiling) == pytest.approx(PLATEAU_CEILING - 1)
    assert number(floor) == PLATEAU_FLOOR


@pytest.mark.parametrize("claim", robustness.STUDY.claims["laptop"][:1] + robustness.STUDY.claims["laptop"][-1:])
def test_the_rule_of_three_phases_whatever_is_varied(claim):
    share, needed = share_in(claim.rule), needed_in(claim.rule, "runs")
    just, melted = phased(100 * (1 - share), 100), phased(100 * (1 - share) + EPSILON, 100)
    others = [phased(1 + n, 100) for n in range(needed - 1)]
    assert claim.decide([just, *others]).answer == HOLDS
    assert claim.decide([melted, *others]).answer == DOES_NOT_HOLD
    assert claim.decide([UNCLEAR, *others]).answer == claim.decide([STOPS, *others]).answer == CANNOT_TELL
    assert claim.decide([UNCLEAR, STOPS, melted, *others]).answer == DOES_NOT_HOLD  # one run without them decides
    assert claim.decide(others).answer == CANNOT_TELL


def test_the_rule_of_a_plateau_that_is_gone():
    claim = claim_of(patching.STUDY, patching._no_plateau, "laptop")
    share, arm = share_in(claim.rule), re.search("“(.*)”", claim.rule)[1]
    just, melted = phased(100 * (1 - share), 100, arm=arm), phased(100 * (1 - share) + EPSILON, 100, arm=arm)
    unclear, stays = phased(60, 400, "cannot tell", arm), phased(100 * (1 - share), None, "not reached", arm)
    stops = phased(100 * (1 - share) + EPSILON, None, "not reached", arm)
    assert needed_in(claim.rule, "seeds") == 2

    def decide(*runs):
        return claim.decide(_arms.Arms([*runs, phased(1, 100, arm="another")])).answer

    assert decide(melted, melted) == HOLDS
    assert decide(melted, just) == decide(melted, stays) == decide(unclear, just) == DOES_NOT_HOLD
    assert decide(melted, unclear) == decide(melted, stops) == CANNOT_TELL
    assert decide() == decide(melted) == decide(just) == CANNOT_TELL


def adaptive_arms(saved):
    """``saved``: size -> the nats that each seed saves."""
    runs = []
    for size, nats in saved.items():
        for seed, one in enumerate(nats):
            for arm, loss in ((_arms.UNIFORM, 1.0), (adaptive.AT_ONCE, 1.0 - one)):
                labels = {"arm": arm, "size": size}
                measures = {_arms.LOSS: loss, "baseline": 5.0, "plateau_threshold": 0.99, "last_step": 10}
                runs.append(SimpleNamespace(labels=labels, seed=seed, measures=measures))
    return _arms.Arms(runs)


def test_the_rule_of_mattering_everywhere():
    claim = claim_of(adaptive.STUDY, adaptive._matters_everywhere)
    nats, sizes, seeds = numbers(claim.rule)
    assert claim.rule.endswith(_trained.STOPPED_EARLY)
    assert (sizes, seeds) == (2, 2)
    enough, little = nats + EPSILON, nats - EPSILON
    assert claim.decide(adaptive_arms({1: (enough, enough), 2: (enough, enough)})).answer == HOLDS
    assert claim.decide(adaptive_arms({1: (enough, enough), 2: (little, little)})).answer == DOES_NOT_HOLD
    assert claim.decide(adaptive_arms({1: (enough, enough), 2: (enough, little)})).answer == CANNOT_TELL
    assert claim.decide(adaptive_arms({1: (enough, enough)})).answer == CANNOT_TELL
    assert claim.decide(adaptive_arms({1: (enough, enough), 2: (enough,)})).answer == CANNOT_TELL
