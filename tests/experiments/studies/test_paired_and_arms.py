"""The helpers that studies of arms share, on runs that are a few numbers each."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest
from scipy import stats

from moefacts.analysis.comparison import Paired
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS, above
from moefacts.experiments.studies import _arms, _laptop
from moefacts.experiments.studies._arms import (
    ACCURACY,
    END,
    LOSS,
    Arms,
    arm_findings,
    arm_runs,
    difference_claim,
    sampling,
)
from moefacts.experiments.studies._paired import decide_paired, idle_experts, log_ratio, max_violation, value_of

LOADS = {
    0: [0.5, 0.5, 0.0, 0.0],
    1: [0.25, 0.75, 0.0, 0.0],
}  # layer -> the share of every expert at the last evaluation


def routed(loads=LOADS):
    """A run with three evaluations. At the first two, its experts had other loads."""
    layers = {layer: [pd.Series([0.25, 0.125, one]) for one in shares] for layer, shares in loads.items()}
    violation = {
        f"routing/layer_{layer}/max_violation": [0.0, 3.0, 4 * max(shares) - 1] for layer, shares in loads.items()
    }
    return SimpleNamespace(
        evaluations=pd.DataFrame({"eval/seen/attribute_loss": [9.0, 5.0, 1.0]} | violation), routed_layers=list(layers), num_experts=4 if loads else 0,
        load_fraction=lambda layer, expert: layers[layer][expert],
    )  # fmt: skip


def finished(arm, size, seed, loss=1.0, accuracy=0.5, end=100.0, status="reached", record=None):
    measures = {LOSS: loss, ACCURACY: accuracy, END: end, "plateau_end_status": status, "last_step": 500}
    measures |= {"plateau_end_earliest": 500.0, "plateau_end_latest": None}  # if it was not reached
    record = record or SimpleNamespace(seed=seed)
    return FinishedRun({"arm": arm, "size": size}, record, measures)


def test_violation_is_averaged_over_layers_and_idle_experts_are_added_up_at_the_end():
    assert max_violation(routed()) == pytest.approx(((4 * 0.5 - 1) + (4 * 0.75 - 1)) / 2)
    assert idle_experts(routed()) == 4
    assert idle_experts(routed({0: [0.25] * 4})) == 0


def test_a_dense_run_has_neither():
    assert max_violation(routed({})) is None
    assert idle_experts(routed({})) is None


def test_values_come_from_the_measures_or_the_routing_and_undetermined_ends_are_none():
    run = finished("a", 1, 0, loss=1.5, end=120.0, record=routed())
    assert (value_of(run, LOSS), value_of(run, END)) == (1.5, 120.0)
    assert (value_of(run, "max_violation"), value_of(run, "idle_experts")) == (pytest.approx(1.5), 4)
    for status in ("cannot tell", "not reached"):
        unclear = finished("a", 1, 0, loss=1.5, status=status)
        assert (value_of(unclear, END), value_of(unclear, LOSS)) == (None, 1.5)


def decide(mean, interval, count):
    return above(mean, interval, 0.0, count)


def test_a_verdict_on_pairs_says_how_many_there_were():
    verdict = decide_paired(Paired(2.0, (1.0, 3.0), 4, 0), decide)
    assert (verdict.answer, verdict.here, verdict.value, verdict.interval) == (
        HOLDS,
        "2 [1, 3] over 4 pairs",
        2.0,
        (1.0, 3.0),
    )
    assert decide_paired(Paired(2.0, (1.0, 3.0), 4, 2), decide).here == "2 [1, 3] over 4 pairs, missing in 2 more"
    nothing = decide_paired(None, decide)
    assert (nothing.answer, nothing.here) == (CANNOT_TELL, "no pair of runs has both values")


def test_the_log_ratio_is_that_of_ours_to_theirs():
    assert log_ratio(math.e**2, 1.0) == pytest.approx(2.0)
    assert log_ratio(1.0, 10.0) == pytest.approx(-math.log(10))


def test_sampling_returns_the_overrides_of_a_distribution():
    assert sampling("power_law", exponent=1, more=0.5) == (
        "sampling.kind=power_law",
        "sampling.exponent=1",
        "sampling.more=0.5",
    )


def test_every_arm_runs_with_every_seed_and_after_the_run_that_it_needs():
    arms = {"own": (), "twin": ("patching.reference_step=4",)}
    runs = arm_runs("laptop", arms, 64, 2, "training.steps=9", needs={"twin": "own"})
    assert [(run.labels, run.overrides[-1]) for run in runs] == [
        ({"arm": arm, "size": 64}, f"seed={seed}") for arm in arms for seed in (6400, 6401)
    ]
    own, _, twin, other_twin = runs
    assert own.overrides == ("population.size=64", *_laptop.SETTINGS, "training.steps=9", "seed=6400")
    assert twin.overrides == ("population.size=64", *arms["twin"], *_laptop.SETTINGS, "training.steps=9", "seed=6400")
    assert (own.needs, twin.needs) == ((), (own,))
    assert other_twin.needs[0].overrides[-1] == "seed=6401"
    assert all(run.expected_steps is None for run in runs)
    (paper,) = arm_runs("paper", {"own": ()}, 64, 1)
    assert paper.overrides == ("population.size=64", "seed=6400")


RUNS = [
    finished("b", 20, 0, loss=1.0, end=100), finished("b", 20, 1, loss=1.4, end=110),
    finished("a", 20, 0, loss=2.0, end=200), finished("a", 20, 1, loss=2.2, end=240),
    finished("b", 10, 0, loss=3.0, end=50), finished("b", 10, 1, loss=3.3, end=60),
    finished("a", 10, 0, loss=2.0, end=70), finished("a", 10, 1, loss=2.5, status="cannot tell"),
]  # fmt: skip


def test_arms_in_the_order_of_the_grid_and_sizes_ascending():
    arms = Arms(RUNS)
    assert (arms.names, arms.sizes) == (["b", "a"], [10, 20])
    assert arms.members("a") == [RUNS[2], RUNS[3], RUNS[6], RUNS[7]]
    assert arms.members("a", 10) == RUNS[6:]
    assert arms.members("c") == []


def test_values_by_size_and_seed():
    arms = Arms(RUNS)
    assert arms.values(LOSS, "b") == {(10, 0): 3.0, (10, 1): 3.3, (20, 0): 1.0, (20, 1): 1.4}
    assert arms.values(END, "a", 10) == {(10, 0): 70, (10, 1): None}
    assert arms.values(LOSS, "c") == {}


def test_of_several_arms_the_best_at_each_size_counts():
    arms = Arms(RUNS)
    assert (arms.best(("a", "b"), 10), arms.best(("a", "b"), 20)) == ("a", "b")
    assert arms.best(("c",), 10) is None
    assert arms.best(("c", "b"), 10) == "b"
    assert arms.values(LOSS, ("a", "b")) == {(10, 0): 2.0, (10, 1): 2.5, (20, 0): 1.0, (20, 1): 1.4}
    assert arms.values(LOSS, ("a", "b"), 20) == {(20, 0): 1.0, (20, 1): 1.4}
    assert arms.values(LOSS, ("c",)) == {}


def test_differences_are_ours_minus_theirs_or_for_plateau_ends_the_log_ratio():
    arms = Arms(RUNS)
    assert arms.difference(LOSS, "a", "b").mean == pytest.approx((1.0 + 0.8 - 1.0 - 0.8) / 4)
    assert arms.difference(LOSS, "a", "b", 20).mean == pytest.approx(0.9)
    ends = arms.difference(END, "a", "b")
    # Two pairs of each seed; the last end is later than its run.
    ratios = [math.log(2.0 * 1.4) / 2, math.log(240 / 110 * 500 / 60) / 2]
    low, _ = stats.t.interval(0.95, 1, loc=sum(ratios) / 2, scale=stats.sem(ratios))
    assert (ends.mean, *ends.interval) == pytest.approx((sum(ratios) / 2, low, math.inf))
    assert (ends.count, ends.clusters, ends.missing, ends.censored) == (4, 2, 0, 1)


def test_findings_show_every_arm_and_its_difference_from_the_reference():
    findings = arm_findings(RUNS, "a", "Some arms", "a note", {"more": 7})
    means, differences = findings.tables
    assert (means.title, means.note) == ("Some arms", "a note")
    assert means.columns == ["people", "arm", "runs", *_arms.MEASURES.values()]
    assert [row[:4] for row in means.rows] == [
        ["10", "b", "2", "3, 3.3"], ["10", "a", "2", "2, 2.5"],
        ["20", "b", "2", "1, 1.4"], ["20", "a", "2", "2, 2.2"],
    ]  # fmt: skip
    assert means.rows[1][5] == "70 (1 of 2 not reached)"
    assert differences.title == "Difference from “a”"
    assert differences.columns == ["people", "arm", *_arms.MEASURES.values()]
    assert [row[:3] for row in differences.rows] == [["10", "b", "1, 0.8"], ["20", "b", "-1, -0.8"]]
    assert differences.rows[0][4] == "×0.714, ×0.12 (1 within bounds)"  # theirs is later than its run
    found = {(one["size"], one["arm"]): one["against_reference"] for one in findings.values["arms"]}
    assert found[20, "b"][LOSS]["mean"] == pytest.approx(-0.9)
    assert found[20, "a"][LOSS]["interval"] == (0.0, 0.0)
    assert (findings.values["reference"], findings.values["more"]) == ("a", 7)
    assert list(findings.figures) == ["loss_10", "loss_20", "over_sizes"]
    assert findings.figures["loss_20"][0] == "Some arms: attribute loss over all 20 people in held-out templates."
    assert differences.note.startswith("Means over pairs of runs of equal size and seed, with 95% intervals.")
    assert isinstance(findings.evidence, Arms)


def test_figures_are_given_the_runs_of_every_arm_by_size(monkeypatch):
    findings = arm_findings(RUNS, "a", "Some arms")
    (groups,) = findings.figures["loss_10"][1].args
    assert [(group.label, group.runs) for group in groups] == [
        ("b", [run.record for run in RUNS[4:6]]),
        ("a", [run.record for run in RUNS[6:]]),
    ]
    caption, draw = findings.figures["over_sizes"]
    assert caption == "Some arms, by population size. Dots are single seeds; bars are 95% intervals."
    monkeypatch.setattr(_arms, "compare_over", lambda panels: panels)
    ((title, panels),) = draw().items()
    assert title == ""
    assert list(panels) == list(_arms.MEASURES.values())
    loss, _, end = panels.values()
    assert [(one.label, one.values) for one in loss] == [
        ("b", {10: [3.0, 3.3], 20: [1.0, 1.4]}),
        ("a", {10: [2.0, 2.5], 20: [2.0, 2.2]}),
    ]
    assert end[1].values == {10: [70, None], 20: [200, 240]}


def test_an_arm_without_runs_at_a_size_has_no_row_there_and_one_size_no_figure_over_sizes():
    findings = arm_findings([RUNS[0], RUNS[6]], "a", "Some arms")
    assert [row[:2] for row in findings.tables[0].rows] == [["10", "a"], ["20", "b"]]
    assert findings.tables[1].rows == [["20", "b", "–", "–", "–"]]
    assert list(arm_findings(RUNS[:4], "a", "Some arms").figures) == ["loss_20"]


@pytest.mark.parametrize(
    ("measure", "ours", "theirs", "sign", "rule"),
    [
        (LOSS, "b", "a", -1, "Difference in final attribute loss (nats), “b” minus “a”, averaged over pairs of equal size and seed. Holds if its 95% interval lies below 0; does not hold if it lies above; cannot tell otherwise."),
        (END, "b", ("a", "c"), 1, "Log ratio of plateau ends, “b” to the best of “a”, “c” at each size, averaged over pairs of equal size and seed. Holds if its 95% interval lies above 0; does not hold if it lies below; cannot tell otherwise."),
    ],
)  # fmt: skip
def test_the_rule_of_a_difference_says_what_is_compared(measure, ours, theirs, sign, rule):
    claim = difference_claim("text", "published", measure, ours, theirs, sign)
    assert (claim.text, claim.published, claim.rule) == ("text", "published", rule)


def test_a_difference_is_decided_in_the_direction_of_the_claim():
    many = [
        finished(arm, 1, seed, loss=one + 0.01 * seed) for arm, one in (("a", 2.0), ("b", 1.0)) for seed in range(3)
    ]
    less = difference_claim("less", "", LOSS, "b", "a")
    more = difference_claim("more", "", LOSS, "b", "a", 1)
    assert (less.decide(Arms(many)).answer, more.decide(Arms(many)).answer) == (HOLDS, DOES_NOT_HOLD)
    assert less.decide(Arms(many[:1])).answer == CANNOT_TELL
    assert less.decide(Arms(many)).value == pytest.approx(-1.0)
