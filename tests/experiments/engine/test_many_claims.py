"""How many verdicts would be left if a study's claims were judged together."""

from moefacts.analysis.study_report import StudyPage
from moefacts.cli.reproduce_verdicts import print_verdicts
from moefacts.experiments.engine.many_claims import judged_together
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from tests.experiments.engine.run_folders import plan_of, study_of


def row(claim, verdict, p_value):
    return {"claim": claim, "verdict": verdict, "p_value": p_value}


def test_what_holds_narrowly_is_lost_among_many_claims_that_could_not_be_told():
    claims = [row("sure", HOLDS, 0.001), row("narrow", DOES_NOT_HOLD, 0.04), row("open", CANNOT_TELL, 0.6)]
    found = judged_together(claims)  # Benjamini and Hochberg's bounds are 0.0167, 0.0333 and 0.05
    assert found["no_longer_told"] == ["narrow"]
    assert found["not_included"] == []
    assert found["text"] == (
        "If the 3 claims with a p-value were judged together (Benjamini–Hochberg at 5%), 1 of the 2 that hold or do not "
        "hold would no longer be told: “narrow”."
    )


def test_nothing_is_lost_if_all_are_as_sure_as_their_rank_asks():
    found = judged_together([row("a", HOLDS, 0.016), row("b", HOLDS, 0.033), row("c", HOLDS, 0.049)])
    assert found["no_longer_told"] == []
    assert found["text"].endswith("0 of the 3 that hold or do not hold would no longer be told.")


def test_claims_without_a_p_value_are_named_and_change_nothing():
    found = judged_together([row("a", HOLDS, 0.04), row("counted", HOLDS, None)])
    assert (found["no_longer_told"], found["not_included"]) == ([], ["counted"])
    assert found["text"].endswith("Not included, because their rules give no p-value: “counted”.")
    none = judged_together([row("a", HOLDS, None), row("b", HOLDS, None)])
    assert none["text"] == "No claim has a p-value, so they cannot be judged together by Benjamini–Hochberg."


def test_one_claim_is_judged_alone():
    assert judged_together([row("a", HOLDS, 0.04)]) is None
    assert judged_together([]) is None


def test_the_sentence_stands_below_the_table_in_the_terminal(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "400")
    shown = {"published": "–", "here": "–", "rule": "–"}
    claims = [row("a", HOLDS, 0.04) | shown, row("[b]", HOLDS, None) | shown]
    result = {"claims": claims, "complete": True, "missing": [], "judged_together": judged_together(claims)}
    print_verdicts(StudyPage(result, [], []), plan_of(out=tmp_path, study=study_of()))
    printed = capsys.readouterr().out
    assert result["judged_together"]["text"] in printed
    assert printed.startswith(f"{study_of().name}, ")  # the title begins where the table does, however wide a pipe is
