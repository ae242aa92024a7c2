"""The measures of a made-up decisions table, by cohort and mixed, and what a confidence is worth by it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moefacts.analysis.decision_figures import reliability_diagram, risk_coverage
from moefacts.analysis.decision_tables import decision_sentence, decision_table, router_rows
from moefacts.analysis.decisions import DECISION_MEANINGS, decisions_as_json, detection, measures_by_cohort
from moefacts.analysis.groups import Group
from moefacts.analysis.hallucination_tables import hallucination_tables, requested_tables
from moefacts.analysis.known_risk import known_risk
from moefacts.analysis.summary import as_json
from moefacts.config.presets import compose
from moefacts.runs import tables
from moefacts.runs.reader import Run
from tests.analysis.test_measures import evaluation
from tests.conftest import TINY

COHORTS = ("seen", "unseen", "odd_ones")
MIXTURES = ("half seen, half unseen", "half seen, half odd_ones")


@pytest.fixture(scope="module")
def settings():
    found = compose([*TINY, "+population.cohorts={odd_ones:{part_of:new,start:0,stop:4}}"])
    return replace(found, evaluation=replace(found.evaluation, cohorts=list(COHORTS)))


def answers(cohort, first, people, confidence, right, num_values=8):
    """One answer for each person and two attributes, of equal confidence."""
    return pd.DataFrame(
        [
            {"step": 12, "cohort": cohort, "individual": first + n, "attribute": attribute, "num_values": num_values}
            | {"right": right, "confidence": confidence - n / 1000, "attribute_loss": 3.0, "value_entropy": 0.5}
            | {"mass": 1.0, "abstained": 0}
            for n in range(people)
            for attribute in ("major", "company")
        ]
    )


@pytest.fixture
def run(settings, tmp_path):
    table = pd.concat(
        [answers("seen", 0, 6, 0.9, 1), answers("unseen", 48, 8, 0.4, 0), answers("odd_ones", 80, 4, 0.95, 0)]
    )
    tables.DECISIONS.write(tmp_path, table)
    record = {"step": 12} | {k: v for cohort in COHORTS for k, v in evaluation(cohort, 1.0, 0.9, 0.5, 1.0).items()}
    manifest = {"state": "finished", "no_knowledge_baseline": 5.0, "parameters": {"total": 7}}
    return Run(tmp_path, settings, manifest, [record])


def test_every_cohort_that_was_not_shown_has_a_regret_and_a_mixture(run):
    assert (run.shown_cohort, run.unseen_cohorts) == ("seen", ["unseen", "odd_ones"])
    found = measures_by_cohort(run)
    assert list(found) == [*COHORTS, *MIXTURES]
    assert all(list(one) == list(DECISION_MEANINGS) for one in found.values())
    assert found["unseen"]["regret"] == pytest.approx(3 - np.log(8))
    assert found["odd_ones"]["regret"] == pytest.approx(3 - np.log(8))
    assert [found[name]["regret"] for name in ("seen", *MIXTURES)] == [None] * 3
    assert (found["unseen"]["auroc"], found["unseen"]["fpr_at_95_tpr"]) == (1, 0)
    assert (found["odd_ones"]["auroc"], found["odd_ones"]["fpr_at_95_tpr"]) == (0, 1)
    assert found["seen"]["auroc"] is None


def test_a_mixture_has_as_many_people_of_both(run):
    found = measures_by_cohort(run)
    assert (found[MIXTURES[0]]["answers"], found[MIXTURES[1]]["answers"]) == (2 * 2 * 6, 2 * 2 * 4)
    assert found[MIXTURES[0]]["accuracy"] == 0.5
    assert found[MIXTURES[0]]["excess_aurc"] == pytest.approx(0)
    assert found[MIXTURES[0]]["coverage_at_1_risk"] == 0.5
    assert found[MIXTURES[0]]["risk_at_80_coverage"] == pytest.approx(1 - 12 / 20)
    assert found[MIXTURES[1]]["coverage_at_10_risk"] == 0
    brier = np.mean([(0.9 - n / 1000 - 1) ** 2 for n in range(6)])
    assert found["seen"]["brier"] == pytest.approx(brier)


def test_the_lowest_false_positive_rate_that_recognises_95_percent():
    shown = np.array([0.1, *np.full(19, 0.8)])  # all but one of 20 are above 0.5
    found = detection(shown, np.array([0.2, 0.4, 0.6, 0.9]))
    assert found["fpr_at_95_tpr"] == 0.25
    assert found["auroc"] == pytest.approx((19 * 3 / 4 + 0) / 20)


def test_the_json_has_every_cohort_also_by_attribute(run):
    found = as_json([Group("", [run])])["decisions"]
    assert found["unseen"]["by_attribute"]["major"]["regret"] == pytest.approx(3 - np.log(8))
    assert "regret" not in found["seen"]["by_attribute"]["major"]
    assert found == decisions_as_json(run)


def test_the_report_says_it_in_one_sentence_and_draws_it(run):
    group = Group("dense", [run])
    sentence = decision_sentence(group)
    assert "can answer 50% of questions, half of them about seen and half about unseen people" in sentence
    assert f"its loss is {3 - np.log(8):.3g} nats above" in sentence
    header, rows = decision_table([group])
    assert header == [*COHORTS, *MIXTURES]
    assert [key for key, _, _ in rows] == list(DECISION_MEANINGS)
    axes = risk_coverage([group]).axes[0]
    assert len(axes.lines) == 5  # the mixture's best order is the fifth
    assert axes.lines[3].get_ydata()[-1] == 0.5
    assert len(reliability_diagram([group, group]).axes[0].lines) == 3  # the diagonal, and each mixture


def test_routers_stand_beside_confidence(run):
    row = {"cohort": "unseen", "layer": 0, "tokens": "name_end", "signal": "entropy"}
    place = {"people": 6, "auroc": 0.7, "control": 0.5}
    kinds = [(tokens, signal) for tokens in ("name_end", "before_value") for signal in ("entropy", "experts")]
    tables.ROUTER_DETECTION.write(
        run.path, pd.DataFrame([row | place | {"tokens": tokens, "signal": signal} for tokens, signal in kinds])
    )
    assert router_rows([Group("", [run])])[0] == ["unseen", "0", "end of the name", "router entropy", "0.7", "0.5", "1"]


def test_a_run_that_has_not_been_probed_says_nothing(settings, tmp_path):
    run = Run(tmp_path, settings, {"state": "finished"}, [])
    assert measures_by_cohort(run) == {}
    assert decision_sentence(Group("", [run])) == ""
    assert decision_table([Group("", [run])]) == ([], [])


def test_what_a_confidence_is_worth(run):
    risk = known_risk(run.decisions, run.shown_cohort, run.unseen_cohorts)
    assert risk.mixture == MIXTURES[0]
    assert risk.right_when_this_sure(0.9) == (1, 4)  # two more are as sure as those of the last tenth
    assert risk.right_when_this_sure(0.1)[0] == 0
    assert risk.right_when_this_sure(2.0)[0] == 1
    assert risk.smallest_confidence(0) == pytest.approx(0.895)
    assert risk.smallest_confidence(0.5) == pytest.approx(0.395)
    only_wrong = run.decisions.assign(right=0)
    assert known_risk(only_wrong, "seen", ["unseen"]).smallest_confidence(0.5) is None
    assert known_risk(run.decisions, "seen", []) is None
    assert known_risk(run.decisions, "seen", ["absent"]) is None


@pytest.mark.parametrize(
    ("sampling", "seen_before", "shown", "unseen"),
    [
        ("new", [[0, 48]], "seen", ["unseen"]),  # fine-tuned on people who include odd_ones
        ("odd_ones", [[0, 48]], "odd_ones", ["unseen"]),
        ("new", [], "odd_ones", ["seen", "unseen"]),
        ("seen", [[48, 60]], "seen", ["odd_ones"]),  # some of the unseen were shown
    ],
)
def test_who_was_shown_depends_on_fine_tuning(settings, sampling, seen_before, shown, unseen):
    settings = replace(settings, sampling=replace(settings.sampling, cohort=sampling))
    run = Run(Path("nowhere"), settings, {"seen_before": seen_before}, [])
    assert (run.shown_cohort, run.unseen_cohorts) == (shown, unseen)


def known(auroc):
    """A table of two states; what is added to the last changes nothing."""
    row = {"people": 8, "auroc_logistic": auroc, "auroc_means": 0.5, "auroc_permuted": 0.5, "auroc_names": 0.5}
    row |= {"confidence_unseen": 0.25, "confidence_seen": 0.75}
    changed = {name: 0.4 for name in tables.KNOWN_PERSON.columns if name not in row and name != "layer"}
    return pd.DataFrame(
        [{"layer": 0, **row, **changed}, {"layer": 1, **row, **changed}], columns=list(tables.KNOWN_PERSON.columns)
    )


def test_decisions_by_attribute_and_what_was_asked_for_stand_in_tables_with_means_over_seeds(run):
    (by_attribute,) = hallucination_tables(Group("one", [run]))
    assert [row[:2] for row in by_attribute.rows] == [
        [name, attribute] for name in (*COHORTS, *MIXTURES) for attribute in ("major", "company")
    ]
    regrets = [row[by_attribute.columns.index("regret (nats)")] for row in by_attribute.rows]
    assert regrets[2] == f"{3 - np.log(8):.4g}"
    assert regrets[0] == regrets[-1] == "–"
    tables.KNOWN_PERSON.write(run.path, known(0.5))
    (asked,) = requested_tables(Group("one", [run]))
    assert asked.rows[1][:2] == ["1", "0.5"]
    assert asked.rows[1][-1] == "0.4"
    assert as_json([Group("one", [run])])["runs"][0]["known_person"][0]["auroc_logistic"] == 0.5


def test_known_people_are_told_with_an_interval_over_seeds(run, tmp_path):
    runs = []
    for seed, auroc in enumerate((0.5, 0.6, 0.7)):
        (path := tmp_path / str(seed)).mkdir()
        tables.KNOWN_PERSON.write(path, known(auroc))
        runs.append(replace(run, path=path))
    (asked,) = requested_tables(Group("all", runs))
    assert asked.rows[0][1].startswith("0.60 ± 0.25")
    assert asked.columns[:2] == ["state", "logistic regression"]
