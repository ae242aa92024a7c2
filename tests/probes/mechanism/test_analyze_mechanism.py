"""The mechanism of a run: which checkpoints and people are measured, and where the report shows it."""

import dataclasses
import json

import pytest

from moefacts.experiments.tasks.probe import moments_of, probe_run
from moefacts.runs.layout import checkpoint_steps
from moefacts.runs.reader import read_run
from moefacts.runs.suits import why_not
from moefacts.runs.tables import EMERGENCE, MECHANISM, MECHANISM_EXPERTS, MECHANISM_RESTORED, MECHANISM_SENTENCE
from tests.conftest import tiny_config
from tests.torture.commands import call


def test_analyze_measures_the_mechanism_only_when_asked(finished_run, quick_figures, monkeypatch):
    assert "mechanism" not in read_run(finished_run).missing_probes
    monkeypatch.setenv("COLUMNS", "80")
    outcome = call("analyze", str(finished_run), "--mechanism")
    assert outcome.code == 0, outcome
    assert "layer by layer, seen people, step 12" in outcome.stdout
    assert "name ← name" in outcome.stdout
    assert "mechanism probed" in outcome.stderr
    table = MECHANISM.read(finished_run)
    run = read_run(finished_run)
    assert sorted(table["step"].unique()) == moments_of(run)
    last = table[table["step"] == table["step"].max()]
    assert set(zip(last["cohort"], last["values"], strict=True)) == {
        ("seen", "own"),
        ("seen", "permuted"),
        ("unseen", "own"),
    }
    sentence = run.mechanism_sentence
    assert sorted(sentence["step"].unique()) == moments_of(run)
    assert (sentence.groupby(["step", "layer"])["attention"].sum().sub(1).abs() < 1e-5).all()
    assert (finished_run / "figures" / "mechanism_arcs.png").exists()
    page = (finished_run / "report.html").read_text()
    assert "Mechanism: which layer does what?" in page
    assert "name ← name cut" in page
    assert "read at the name by chance" in page
    assert "Neurons as a key–value memory" in page
    assert "Routers that see" not in page  # a dense model
    assert sorted(MECHANISM_RESTORED.read(finished_run)["since"].unique()) == moments_of(run)[:-1]
    assert ("What is still known" in page) == (len(moments_of(run)) > 1)
    again = call("analyze", str(finished_run))
    assert "mechanism" not in again.stderr  # it is not measured twice
    assert "layer by layer" not in again.stdout

    MECHANISM_SENTENCE.path(finished_run).unlink()  # as in runs that an earlier version probed
    MECHANISM.write(finished_run, table.head(1))
    assert probe_run(read_run(finished_run), "mechanism") == ["mechanism"]
    assert len(MECHANISM.read(finished_run)) == 1  # nothing else is measured again
    assert MECHANISM_SENTENCE.path(finished_run).exists()
    assert MECHANISM_EXPERTS.read(finished_run).empty  # a dense model


def test_what_emerges_is_measured_at_every_checkpoint(finished_run):
    run = read_run(finished_run)
    assert probe_run(run, "emergence") == ["emergence"]
    table = EMERGENCE.read(finished_run)
    assert sorted(table["step"].unique()) == checkpoint_steps(finished_run)
    assert set(table["measure"]) == {"probability", "knock-out", "ablated mlp", "ablated attention", "read"}
    assert table["value"].notna().all()


def test_analyze_says_why_it_does_not_probe_what_was_asked_for(finished_run):
    path = finished_run / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "interrupted"}))
    options = {"--mechanism": "mechanism", "--known-person": "known_person", "--temperature": "temperature"}
    outcome = call("analyze", str(finished_run), "--no-report", *options)
    assert outcome.code == 0, outcome
    why = f"it is not finished (interrupted); let it train to its end, or resume it: moefacts train --resume {finished_run}"
    for option in options:
        assert f"moefacts: {finished_run}: {option} is left out: {why}\n" in outcome.stderr
    assert "is left out" not in call("analyze", str(finished_run), "--no-report").stderr  # nothing was asked for


@pytest.mark.parametrize(
    ("probe", "overrides", "reason"),
    [
        ("mechanism", (), ""),
        ("mechanism", ("patching.reference_step=4",), "it is patched"),
        ("mechanism", ("population.size=1",), "it puts one person's name in place of another's, and seen is one person"),
        ("known_person", ("population.size=3",), "it compares 4 people or more of either kind, and there are 3 seen and 32"),
        ("temperature", ("population.unseen=3",), "and there are 48 seen and 3 unseen; train with more"),
        ("routing", (), "its model has no mixture of experts"),
        ("attention", ("model.mixer=rg_lru",), "its model has no attention"),
        ("retention", ("evaluation.interval_control=null",), "evaluation.interval_control is not set"),
        ("shift", (), "it was not fine-tuned"),
    ],
)  # fmt: skip
def test_every_probe_suits_a_run_or_says_why_it_does_not(finished_run, probe, overrides, reason):
    run = dataclasses.replace(read_run(finished_run), settings=tiny_config(*overrides))
    assert reason in why_not(run, probe)
    assert bool(why_not(run, probe)) == bool(reason)
    assert run.lacks(probe) == (not reason)
