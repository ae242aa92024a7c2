"""The mechanism of a run: which checkpoints and people are measured, and where the report shows it."""

from moefacts.experiments.tasks.probe import moments_of, probe_run
from moefacts.runs.layout import checkpoint_steps
from moefacts.runs.reader import read_run
from moefacts.runs.tables import EMERGENCE, MECHANISM, MECHANISM_EXPERTS, MECHANISM_RESTORED, MECHANISM_SENTENCE
from tests.torture.commands import call


def test_analyze_measures_the_mechanism_only_when_asked(finished_run, quick_figures):
    assert "mechanism" not in read_run(finished_run).missing_probes
    outcome = call("analyze", str(finished_run), "--mechanism")
    assert outcome.code == 0, outcome
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
    assert sorted(MECHANISM_RESTORED.read(finished_run)["since"].unique()) == moments_of(run)[:-1]
    assert ("What is still known" in page) == (len(moments_of(run)) > 1)
    assert "mechanism" not in call("analyze", str(finished_run)).stderr  # it is not measured twice

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
