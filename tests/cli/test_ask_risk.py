"""``moefacts ask`` says what its confidence has been worth, and abstains under a chosen risk."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.cli.ask import Bar
from moefacts.experiments.tasks.train import execute
from moefacts.runs import tables
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import build_population
from tests.conftest import tiny_config


def table(step=12, right_above=0.3):
    """Answers about seen people at every confidence, right above a certain one, and wrong ones about unseen people."""
    rows = [
        {"step": step, "cohort": cohort, "individual": first + n, "attribute": attribute, "num_values": 8}
        | {"confidence": confidence, "right": int(cohort == "seen" and confidence > right_above)}
        | {"attribute_loss": 1.0, "value_entropy": 1.0, "mass": 1.0, "abstained": 0}
        for cohort, first in (("seen", 0), ("unseen", 48))
        for n, scale in enumerate(np.linspace(0.01, 1, 20))
        for attribute, confidence in zip(ATTRIBUTES, [scale * (1 if cohort == "seen" else 0.1)] * 6, strict=True)
    ]
    return pd.DataFrame(rows)


def ask(run, *arguments):
    result = CliRunner().invoke(cli.app, ["ask", str(run), *map(str, arguments)])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def test_strangers_of_training_are_called_so(tmp_path):
    """They are shown in training; it said that they never were."""
    settings = ("population.strangers=8", "uncertainty.strangers=unknown", "uncertainty.stranger_share=0.25")
    config = tiny_config(*settings, "training.steps=1", f"run.dir={tmp_path}/run")
    run = execute(config)
    people = build_population(config.population, config.seed)
    assert "is a stranger, of whom training" in ask(run, people.full_name(people.cohort("strangers")[0]))


@pytest.fixture
def name(population):
    return population.full_name(0)


def test_before_analyze_it_says_what_would_tell_and_cannot_keep_a_risk(finished_run, name, fails):
    assert f"`moefacts analyze {finished_run}` finds out" in ask(finished_run, name)
    assert "`moefacts analyze" in fails("ask", finished_run, name, "--max-risk", 0.1)
    reply = json.loads(ask(finished_run, name, "--json"))[0]["answers"]["major"]
    assert reply["right_when_this_sure"] is None
    assert "abstains" not in reply


def test_it_answers_where_the_risk_is_low_and_else_abstains(finished_run, name):
    tables.DECISIONS.write(finished_run, table())
    replies = [json.loads(ask(finished_run, name, "--json", "--max-risk", risk)) for risk in (0, 0.9, 0)]
    assert replies[0] == replies[2]
    for reply, bar in zip(replies[:2], (0.32, 0.011), strict=True):
        for answer in reply[0]["answers"].values():
            assert answer["confidence"] == answer["answers"][0][1]
            assert answer["smallest_confidence"] == pytest.approx(bar, abs=0.06)
            assert answer["abstains"] == (answer["confidence"] < answer["smallest_confidence"])
            assert 0 <= answer["right_when_this_sure"] <= 1
    every = [answer["abstains"] for reply in replies[:2] for answer in reply[0]["answers"].values()]
    assert set(every) == {True, False}
    shown = ask(finished_run, name, "--max-risk", 0)
    assert shown.count("does not answer: ") == sum(every[:6])
    assert "right when this sure" in shown
    assert "half seen, half unseen people" in shown
    assert "right when this sure" in ask(finished_run, name)


def test_where_no_confidence_is_worth_it_nothing_is_answered(finished_run, name):
    tables.DECISIONS.write(finished_run, table(right_above=2))
    said = ask(finished_run, name, "--max-risk", 0.1)
    assert said.count("does not answer: at no confidence were at most 10% of the answers wrong") == len(ATTRIBUTES)


@pytest.mark.parametrize("risk", ["1", "-0.1", "nan", "2"])
def test_a_risk_that_is_none_is_refused_in_one_line(finished_run, name, fails, risk):
    assert "must be at least 0 and below 1" in fails("ask", finished_run, name, "--max-risk", risk)


def test_the_risk_is_that_of_the_checkpoint_that_was_probed(finished_run, name, fails):
    tables.DECISIONS.write(finished_run, table())
    assert "is known at step 12 only, not at step 4" in ask(finished_run, name, "--step", 4)
    assert "not at step 4" in fails("ask", finished_run, name, "--step", 4, "--max-risk", 0.1)


def test_a_damaged_table_is_named_in_one_line(finished_run, name, fails):
    tables.DECISIONS.write(finished_run, table())
    tables.DECISIONS.path(finished_run).write_bytes(b"PAR1 nonsense")
    assert "decisions.parquet is damaged" in fails("ask", finished_run, name)
    tables.DECISIONS.write(finished_run, table().assign(confidence=2.0))
    assert "decisions.parquet: confidence: got double from 2.0 to 2.0" in fails("ask", finished_run, name)


def test_a_model_that_says_that_it_does_not_know_does_not_answer_however_sure_it_is():
    bar = Bar(0.1, 0.5)
    assert bar.refusal("[IDK]", 0.9, ("[IDK]",)) == "does not answer: says [IDK]"
    assert bar.refusal("Paris", 0.5, ("[IDK]",)) is None
    assert bar.refusal("Paris", 0.4, ()) == "does not answer: 40.0% sure, below 50.0%"
