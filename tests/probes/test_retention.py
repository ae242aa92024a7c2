"""The retention probe: knowledge per person, beside what training has shown of the person."""

import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.experiments.tasks.materials import load_run
from moefacts.experiments.tasks.probe import probe_run
from moefacts.experiments.tasks.train import execute
from moefacts.probes.retention import NUM_CHECKPOINTS, choose_checkpoints
from moefacts.runs import layout, tables
from moefacts.runs.reader import read_run
from moefacts.synthetic_data.batches import Batcher
from moefacts.training.control import control_evaluator
from moefacts.training.evaluation import Evaluator
from tests.conftest import tiny_config

ON = "evaluation.interval_control=4"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return execute(tiny_config(ON, f"run.dir={tmp_path_factory.mktemp('runs') / 'run'}"))


@pytest.fixture
def copied(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


@pytest.mark.parametrize(
    ("steps", "plateau_end", "chosen"),
    [
        (range(0, 2001, 125), 690, [750, 1000, 1250, 1500, 1750, 2000]),
        (range(0, 2001, 125), 687, [625, 875, 1125, 1500, 1750, 2000]),  # 625 is nearest; evenly spaced from there
        (range(0, 2001, 125), None, [0, 375, 750, 1250, 1625, 2000]),
        (range(0, 2001, 125), 1990, [2000]),
        ([0, 4, 8], 4, [4, 8]),
        ([12], None, [12]),
    ],
)
def test_the_checkpoints_are_the_one_nearest_to_the_plateaus_end_the_last_and_some_between(steps, plateau_end, chosen):
    assert choose_checkpoints(list(steps), plateau_end) == chosen
    assert len(chosen) <= NUM_CHECKPOINTS


def test_knowledge_of_a_person_is_that_of_their_biographies_in_held_out_templates(copied):
    assert probe_run(read_run(copied), "retention") == ["retention"]
    table = read_run(copied).retention
    assert tuple(table.columns) == tuple(tables.RETENTION.columns)
    assert sorted(set(table["step"])) == layout.checkpoint_steps(copied) == [0, 4, 8, 12]
    assert table.groupby("step")["individual"].nunique().tolist() == [48] * 4
    _, materials = load_run(copied, 8)
    true = Evaluator(materials.batcher, "seen", 96, 10)
    losses = [
        e.measure(materials.model).attribute_loss for e in (true, control_evaluator(materials.batcher, "seen", 96, 10))
    ]
    rows = table[table["step"] == 8].set_index("individual")
    for person in (0, 17, 47):
        mine = true.plan.individual_B == person
        assert mine.sum() == 2
        assert rows.loc[person, "attribute_loss"] == pytest.approx(losses[0][mine].mean(), rel=1e-4)
        assert rows.loc[person, "control_loss"] == pytest.approx(losses[1][mine].mean(), rel=1e-4)
    start = table[table["step"] == 0]
    assert (start["times_shown"] == 0).all()
    assert start["steps_since_shown"].isna().all()


def test_the_model_ends_with_the_weights_of_the_last_checkpoint(copied, monkeypatch):
    used = []

    def loaded(path, step=None):
        config, materials = load_run(path, step)
        used.append(materials.model)
        return config, materials

    monkeypatch.setattr("moefacts.experiments.tasks.probe.load_run", loaded)
    probe_run(read_run(copied), "retention")
    last = load_run(copied)[1].model.state_dict()
    assert all(torch.equal(tensor, last[name]) for name, tensor in used[0].state_dict().items())


def with_end(run, step):
    """The run, as if its plateau had ended at this step."""
    found = read_run(run)
    found.manifest["plateau_end"] = step
    return found


def test_a_study_gets_the_checkpoint_of_the_plateaus_end_alone_which_is_the_first_that_the_whole_probe_has(copied):
    assert not read_run(copied).lacks("retention_at_end")  # the plateau has not ended
    assert with_end(copied, 8).lacks("retention_at_end")
    assert probe_run(with_end(copied, 8), "retention_at_end") == ["retention_at_end"]
    part = with_end(copied, 8)
    assert not part.lacks("retention_at_end")
    assert part.retention is None
    assert part.missing_probes == ["attention", "retention", "decisions"]  # analyze still wants all checkpoints
    assert set(part.retention_at_end["step"]) == {8}
    probe_run(part, "retention")
    whole = with_end(copied, 8)
    assert set(whole.retention["step"]) == {8, 12}
    tables.RETENTION_AT_END.path(copied).unlink()
    whole = with_end(copied, 8)
    assert not whole.lacks("retention_at_end")
    assert whole.retention_at_end.reset_index(drop=True).equals(part.retention_at_end)
    assert read_run(copied).retention_at_end is None  # there is no end that it could be the table of


def test_the_exposure_is_that_of_the_batches_that_were_trained_on_also_when_a_curriculum_has_widened(
    tmp_path, monkeypatch
):
    shown, training_batch = [], Batcher.training_batch

    def spy(self, step, *arguments):
        batch = training_batch(self, step, *arguments)
        shown.append((step, batch.individual_B.tolist()))
        return batch

    monkeypatch.setattr(Batcher, "training_batch", spy)
    monkeypatch.setattr("moefacts.training.curriculum.Curriculum.is_ready", lambda self, record: record["step"] == 4)
    settings = ("sampling.kind=adaptive", "sampling.initial_individuals=6", "training.batch_size=4")
    run = execute(tiny_config(ON, *settings, f"run.dir={tmp_path / 'run'}"))
    probe_run(read_run(run), "retention")
    table = read_run(run).retention
    assert max(person for step, people in shown if step < 4 for person in people) < 6
    for step, rows in table.groupby("step"):
        counts = np.bincount([p for s, people in shown if s < step for p in people], minlength=48)
        assert rows.set_index("individual")["times_shown"].reindex(range(48)).tolist() == counts.tolist()
        last = {person: s for s, people in shown if s < step for person in people}
        since = [step - 1 - last[person] if person in last else np.nan for person in rows["individual"]]
        assert np.array_equal(rows["steps_since_shown"], since, equal_nan=True)
    assert (table["times_shown"] == 0).sum() > 0


@pytest.mark.usefixtures("quick_figures")
def test_analyze_probes_retention_only_where_knowledge_was_recorded(copied, finished_run):
    assert read_run(copied).missing_probes == ["attention", "retention", "decisions"]
    assert "retention" not in read_run(finished_run).missing_probes
    result = CliRunner().invoke(cli.app, ["analyze", str(copied)])
    assert result.exit_code == 0, (result.output, result.exception)
    assert "attention and retention and decisions probed" in result.stderr
    assert (copied / "figures" / "retention.png").exists()
    assert (copied / "figures" / "floor_and_knowledge.png").exists()
    page = (copied / "report.html").read_text()
    assert page.count("<svg") == 10
    assert "<h2>Retention: what is known of people shown longer ago?</h2>" in page
    assert "times shown" in page
    assert probe_run(read_run(copied)) == []
