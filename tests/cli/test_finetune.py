"""``moefacts finetune``: a run that starts from another run's weights."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file

from moefacts.cli import app as cli
from moefacts.config.loader import read_config
from moefacts.runs import layout
from moefacts.runs.records import intact_records
from moefacts.training.checkpoint import MODEL


@pytest.fixture
def finetune(monkeypatch, tmp_path, capsys):
    """Run ``moefacts finetune`` in an empty folder, and return the directory of the run."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["moefacts", "finetune", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        assert ended.value.code == 0, captured.err
        return tmp_path / captured.out.splitlines()[-1]

    return run


def weights(run, step):
    return load_file(layout.checkpoint_folder(run, step) / MODEL)


def evaluated(run):
    records, _ = intact_records(run / layout.METRICS)
    return [record for record in records if "eval/seen/attribute_loss" in record]


def test_it_starts_from_the_weights_of_the_run_and_learns_its_new_people(finetune, finished_run):
    run = finetune(finished_run, "training.steps=6")
    config = read_config(run / layout.CONFIG)
    before, own = weights(finished_run, 12), weights(run, 0)
    assert all(torch.equal(before[name], own[name]) for name in before)
    assert config.sampling.cohort == "new"
    assert config.evaluation.cohorts == ["new", "seen", "unseen"]
    assert config.training.learning_rate == pytest.approx(
        read_config(finished_run / layout.CONFIG).training.learning_rate / 13.333, rel=1e-3
    )
    assert [record["step"] for record in evaluated(run)] == [0, 1, 2, 5, 6]
    assert all(f"eval/{cohort}/attribute_accuracy" in evaluated(run)[1] for cohort in ("new", "seen", "unseen"))


def test_the_first_evaluation_is_the_last_of_the_run_before(finetune, finished_run):
    run = finetune(finished_run, "training.steps=1")
    last, first = evaluated(finished_run)[-1], evaluated(run)[0]
    assert first["eval/seen/attribute_loss"] == last["eval/seen/attribute_loss"]


def test_settings_of_the_run_are_kept_and_the_command_line_wins(finetune, finished_run):
    run = finetune(finished_run, "training.steps=1", "--new", "3", "training.weight_decay=0.5", "evaluation.interval=4")
    config, before = read_config(run / layout.CONFIG), read_config(finished_run / layout.CONFIG)
    assert (config.training.weight_decay, config.evaluation.interval) == (0.5, 4)
    assert (config.model, config.training.batch_size) == (before.model, before.training.batch_size)
    assert config.population.cohorts["new_3"].stop == 3
    assert config.sampling.cohort == config.evaluation.cohorts[0] == "new_3"


def test_where_the_other_run_lies_is_not_part_of_the_identity(finetune, finished_run, tmp_path):
    run = finetune(finished_run, "training.steps=1")
    moved = shutil.move(finished_run, tmp_path / "moved")
    assert finetune(moved, "training.steps=1") == run
    assert finetune(moved, "training.steps=1", "--step", "8") != run


def test_it_resumes_bit_for_bit_although_the_other_run_is_gone(finetune, finished_run, monkeypatch):
    whole = finetune(finished_run, "training.steps=6", "run.dir=whole")
    run = finetune(finished_run, "training.steps=6", "run.dir=stopped")
    shutil.rmtree(finished_run)
    for step in layout.checkpoint_steps(run)[1:]:
        shutil.rmtree(layout.checkpoint_folder(run, step))
    manifest = json.loads((run / layout.MANIFEST).read_text()) | {"state": "interrupted"}
    (run / layout.MANIFEST).write_text(json.dumps(manifest))
    monkeypatch.setattr(sys, "argv", ["moefacts", "train", "--resume", str(run)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert all(torch.equal(tensor, weights(run, 6)[name]) for name, tensor in weights(whole, 6).items())


def test_a_sweep_trains_one_run_a_value(finetune, finished_run, tmp_path):
    finetune(finished_run, "-m", "training.steps=1,2")
    assert len(list((tmp_path / "runs" / "finetune").glob("dense*"))) == 2


def test_a_run_can_be_fine_tuned_twice(finetune, finished_run):
    first = finetune(finished_run, "--new", "3", "training.steps=1")
    second = finetune(first, "training.steps=1", "sampling.cohort=unseen")
    manifest = json.loads((second / layout.MANIFEST).read_text())
    assert manifest["seen_before"] == [[0, 48], [80, 83]]


def test_an_interrupted_start_is_not_taken_up_from_a_stored_path(fails, finetune, finished_run):
    run = finetune(finished_run, "training.steps=1")
    shutil.rmtree(run / layout.CHECKPOINTS)
    line = fails("train", "--resume", run)
    assert "has no checkpoint yet; start it again with moefacts finetune" in line


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("population.size=40",), "population.size=40, but {run} was trained with population.size=48; leave"),
        (("seed=7",), "seed=7, but {run} was trained with seed=0; leave seed out"),
        (("model=moe_laptop",), "fine-tuning keeps the model of the run that it starts from"),
        (("model.d_hidden=32",), "does not fit the model; the settings of model must be those of that run"),
        (("--step", "3"), "{run} has no checkpoint of step 3; it has those of steps [0, 4, 8, 12]"),
        (("--new", "9"), "--new 9 must lie between 1 and 8"),
        (("population.cohorts={x: {part_of: new, stop: 9}}",), "not part of the 8 people in new"),
        (("init.source=abc",), "is another run than init.source=abc says"),
        (("init.step=null",), "init.run, init.step and init.source go together"),
    ],
)
def test_what_does_not_fit_the_run_is_refused_before_anything_is_written(
    fails, finished_run, arguments, reason, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert reason.format(run=finished_run) in fails("finetune", finished_run, *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda run: shutil.rmtree(run / layout.CHECKPOINTS), "has no checkpoint to start from"),
        (lambda run: shutil.rmtree(run), "is not a run directory"),
        (lambda run: (run / layout.CONFIG).write_text((run / layout.CONFIG).read_text().replace("size: 48", "size: 47")),
         "population.size=47, but the run was trained with population.size=48"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_started_from_gets_one_line(fails, finished_run, damage, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    damage(finished_run)
    assert reason in fails("finetune", finished_run, "training.steps=1")
    assert not list(tmp_path.iterdir())


def test_a_patched_run_cannot_be_started_from(fails, finished_run):
    config = finished_run / layout.CONFIG
    config.write_text(config.read_text().replace("reference_step: null", "reference_step: 4"))
    assert "is patched; its weights are not usable" in fails("finetune", finished_run)


def test_ask_says_when_a_person_was_seen_and_what_the_model_said_before(finetune, finished_run, monkeypatch, capsys):
    from moefacts.experiments.tasks.materials import load_run

    run = finetune(finished_run, "--new", "3", "training.steps=2")
    population = load_run(run)[1].batcher.population
    expected = {
        0: "was seen before fine-tuning, but not in it",
        80: "is new: seen in fine-tuning only",
        83: "exists in the population but was never seen in training",
    }
    monkeypatch.setenv("COLUMNS", "200")
    for individual, status in expected.items():
        monkeypatch.setattr(sys, "argv", ["moefacts", "ask", str(run), population.full_name(individual)])
        with pytest.raises(SystemExit):
            cli.main()
        printed = capsys.readouterr().out
        assert status in printed
        assert "before fine-tuning" in printed.splitlines()[1]
