"""The rule of every claim in words agrees with its rule in code. The tests read the numbers from the words.

If a rule compares an interval with a bound, the code must give the right answer for intervals just on either side of
it. Every other rule has its own test below or in ``test_plateau_law_rules.py``.
"""

import re
from types import SimpleNamespace

import pytest

from moefacts.analysis.comparison import Paired
from moefacts.analysis.summary import Estimate
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies import _arms, adaptive, attention, celebrities, phases, power_law, templates
from moefacts.experiments.studies.catalog import STUDIES
from moefacts.experiments.studies.dense_vs_moe import comparison as dense_comparison
from moefacts.experiments.studies.patching import patching as patching
from moefacts.experiments.studies.plateau_law import plateau_law as plateau_law
from moefacts.experiments.studies.robustness import robustness as robustness
from moefacts.experiments.studies.sequential import sequential as sequential
from moefacts.runs.thresholds import PLATEAU_CEILING, PLATEAU_FLOOR

NUMBER = r"(-?[\d.]*\d%?)"
CLAIMS = [
    pytest.param(study, claim, id=f"{study.name}-{scale}-{number}")
    for study in STUDIES.values()
    for scale in study.claims
    for number, claim in enumerate(study.claims[scale])
]
EPSILON = 1e-6


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
        assert rule.endswith(f"; does not hold if it lies {other}; cannot tell otherwise.")
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
    assert rule.endswith("; does not hold if it lies outside; cannot tell otherwise.")
    return limits


@pytest.fixture
def answer(monkeypatch):
    """A function that gives the answer of a claim's code to an interval, whatever the study measures."""

    def decide(study, claim, low, high):
        middle = (low + high) / 2
        found = Paired(middle, (low, high), 5, 0)
        for module in (_arms, celebrities, power_law, dense_comparison, sequential):
            monkeypatch.setattr(module, "paired_difference", lambda *_: found)
        for module in (phases, templates, attention):
            monkeypatch.setattr(module, "estimate", lambda _: Estimate(middle, low, high, 5, 0, (middle,) * 5))
        law = SimpleNamespace(a=middle, a_interval=(low, high), b=middle, b_interval=(low, high))
        evidence = SimpleNamespace(law=law) if study.name.startswith("plateau-law") else study.examine([]).evidence
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
        plateau_law._is_power_law, plateau_law._near_published_ends, phases._three_phases, robustness._phases_in_all,
        patching._no_plateau, adaptive._matters_everywhere, power_law._shortest_when_mild, power_law._falls_with_steps,
        power_law._grows_with_people,
    }  # fmt: skip


def claim_of(study, function, scale="paper"):
    return next(c for c in study.claims[scale] if getattr(c.decide, "func", c.decide) is function)


def numbers(rule):
    return [number(one) for one in re.findall(NUMBER, rule)]


def phased(start, end, status="reached", arm=None):
    measures = {"plateau_start": start, "plateau_end_interpolated": end, "plateau_end_status": status}
    return SimpleNamespace(
        measures=measures, labels={"arm": arm, "size": 1, "part": "mixer", "value": f"{start} {end} {status}"}
    )


UNCLEAR, STAYS = phased(60, 400, "cannot tell"), phased(60, None, "not reached")


def share_in(rule):
    return number(re.search(rf"lasts (?:at least|less than) {NUMBER} of the steps", rule)[1])


def test_the_rule_of_three_phases():
    claim = claim_of(phases.STUDY, phases._three_phases)
    share = share_in(claim.rule)
    just, melted = phased(100 * (1 - share), 100), phased(100 * (1 - share) + EPSILON, 100)
    assert claim.decide([just, just]).answer == HOLDS
    assert claim.decide([just, melted]).answer == claim.decide([just, STAYS]).answer == DOES_NOT_HOLD
    assert claim.decide([just, phased(None, 100)]).answer == DOES_NOT_HOLD
    assert claim.decide([just, UNCLEAR]).answer == claim.decide([melted, UNCLEAR]).answer == CANNOT_TELL
    ceiling, floor = re.search(
        rf"within {NUMBER} of the baseline and later falls below {NUMBER} of it", claim.rule
    ).groups()
    assert number(ceiling) == pytest.approx(PLATEAU_CEILING - 1)
    assert number(floor) == PLATEAU_FLOOR


@pytest.mark.parametrize("claim", robustness.STUDY.claims["laptop"][:1] + robustness.STUDY.claims["laptop"][-1:])
def test_the_rule_of_three_phases_whatever_is_varied(claim):
    share, needed = share_in(claim.rule), number(re.search(rf"fewer than {NUMBER} runs", claim.rule)[1])
    just, melted = phased(100 * (1 - share), 100), phased(100 * (1 - share) + EPSILON, 100)
    others = [phased(1 + n, 100) for n in range(int(needed) - 1)]
    assert claim.decide([just, *others]).answer == HOLDS
    assert claim.decide([melted, *others]).answer == DOES_NOT_HOLD
    assert claim.decide([UNCLEAR, *others]).answer == CANNOT_TELL
    assert claim.decide([UNCLEAR, STAYS, *others]).answer == DOES_NOT_HOLD  # one run without three phases decides
    assert claim.decide(others).answer == CANNOT_TELL


def test_the_rule_of_a_plateau_that_is_gone():
    claim = claim_of(patching.STUDY, patching._no_plateau, "laptop")
    share, arm = share_in(claim.rule), re.search("“(.*)”", claim.rule)[1]
    just, melted = phased(100 * (1 - share), 100, arm=arm), phased(100 * (1 - share) + EPSILON, 100, arm=arm)
    unclear, stays = phased(60, 400, "cannot tell", arm), phased(60, None, "not reached", arm)

    def decide(*runs):
        return claim.decide(_arms.Arms([*runs, phased(1, 100, arm="another")])).answer

    assert decide(melted, melted) == HOLDS
    assert decide(melted, just) == decide(melted, stays) == DOES_NOT_HOLD
    assert decide(melted, unclear) == decide() == CANNOT_TELL


def adaptive_arms(saved):
    """``saved``: size -> the nats that each seed saves."""
    runs = []
    for size, nats in saved.items():
        for seed, one in enumerate(nats):
            for arm, loss in ((_arms.UNIFORM, 1.0), (adaptive.AT_ONCE, 1.0 - one)):
                labels, measures = {"arm": arm, "size": size}, {_arms.LOSS: loss}
                runs.append(SimpleNamespace(labels=labels, seed=seed, measures=measures))
    return _arms.Arms(runs)


def test_the_rule_of_mattering_everywhere():
    claim = claim_of(adaptive.STUDY, adaptive._matters_everywhere)
    nats, sizes, seeds = numbers(claim.rule)
    assert (sizes, seeds) == (2, 2)
    enough, little = nats + EPSILON, nats - EPSILON
    assert claim.decide(adaptive_arms({1: (enough, enough), 2: (enough, enough)})).answer == HOLDS
    assert claim.decide(adaptive_arms({1: (enough, enough), 2: (little, little)})).answer == DOES_NOT_HOLD
    assert claim.decide(adaptive_arms({1: (enough, enough), 2: (enough, little)})).answer == CANNOT_TELL
    assert claim.decide(adaptive_arms({1: (enough, enough)})).answer == CANNOT_TELL
    assert claim.decide(adaptive_arms({1: (enough, enough), 2: (enough,)})).answer == CANNOT_TELL


class Exponents:
    """Evidence of the power-law study with given plateau ends (size -> exponent -> seeds) or best exponents."""

    def __init__(self, ends=None, best=None):
        self._ends, self._best = ends or {}, best or {}
        self.sizes = sorted(self._ends or {size for size, _ in self._best})
        self.budgets = sorted({budget for _, budget in self._best})
        self.exponents = sorted({exponent for by in self._ends.values() for exponent in by})

    def plateau_ends(self, size, exponent):
        return self._ends[size].get(exponent, [])

    def best_by_loss(self, size, budget):
        return self._best.get((size, budget))


def test_the_rule_of_the_shortest_plateau():
    claim = claim_of(power_law.STUDY, power_law._shortest_when_mild)
    mild = tuple(number(one) for one in re.search(rf"α {NUMBER} and {NUMBER}", claim.rule).groups())
    margin = number(re.search(rf"more than {NUMBER} earlier", claim.rule)[1])
    assert number(re.search(rf"fewer than {NUMBER} sizes", claim.rule)[1]) == 2
    assert re.search(rf"α {mild[0]}–{mild[1]}", claim.text)

    def decide(*ratios, **also):
        usual = {0.0: [100.0], 0.2: [100.0], mild[0]: [300.0]}
        ends = {size: usual | {mild[1]: [100 * ratio]} | also.get("also", {}) for size, ratio in enumerate(ratios)}
        return claim.decide(Exponents(ends)).answer

    earlier, later = 1 - margin - EPSILON, 1 + margin + EPSILON
    assert decide(earlier, earlier) == HOLDS
    assert decide(earlier, 1 - margin + EPSILON) == decide(1.0, 1 + margin - EPSILON) == CANNOT_TELL
    assert decide(earlier, later) == DOES_NOT_HOLD
    assert decide(earlier) == CANNOT_TELL  # one size
    never = [50.0, None]  # an end not reached in one seed counts as later than all others
    assert decide(1.0, 1.0, also={0.0: never, 0.2: never}) == HOLDS
    assert decide(earlier, earlier, also={mild[1]: never}) == DOES_NOT_HOLD
    assert decide(1.0, 1.0, also=dict.fromkeys((0.0, 0.2, *mild), never)) == CANNOT_TELL


@pytest.mark.parametrize(
    ("function", "at", "falls"), [(power_law._falls_with_steps, 1, True), (power_law._grows_with_people, 0, False)]
)
def test_the_rules_of_the_best_exponent(function, at, falls):
    claim = claim_of(power_law.STUDY, function)
    assert f"never {'rises' if falls else 'falls'}" in claim.rule
    assert f"and {'falls' if falls else 'rises'} at least once" in claim.rule

    def decide(*best, other=()):
        """The answer for the best exponents at one size or budget, and those at another."""
        keys = [(1, n) if at else (n, 1) for n in range(1, len(best) + 1)]
        more = [(2, n) if at else (n, 2) for n in range(1, len(other) + 1)]
        return claim.decide(Exponents(best=dict(zip([*keys, *more], [*best, *other], strict=True)))).answer

    down, up = ((0.8, 0.6, 0.6), (0.6, 0.6, 0.8)) if falls else ((0.6, 0.6, 0.8), (0.8, 0.6, 0.6))
    assert decide(*down) == HOLDS
    assert decide(*up) == decide(*down, other=up) == DOES_NOT_HOLD
    assert decide(0.6, 0.6) == decide(0.6) == CANNOT_TELL
    assert decide(0.6, 0.6, other=down) == HOLDS
    assert decide(0.6, None, other=(0.6, None)) == CANNOT_TELL
