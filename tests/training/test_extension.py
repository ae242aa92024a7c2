"""A run can be made longer where its steps so far do not depend on how many there are (issue 16, line 18)."""

import shutil

import numpy as np
import pytest

from moefacts.config.loader import read_config
from moefacts.errors import UserError
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.runs.extension import extended
from moefacts.runs.manifest import read_manifest
from moefacts.runs.tables import CONFIDENCE
from moefacts.synthetic_data.distribution_kinds import KINDS, SamplingConfig
from tests.conftest import tiny_config
from tests.training.comparing import records, same, weights

CONSTANT = "training.schedule=constant"
SETTINGS = {
    "num_celebrities": 2, "celebrity_weight": 3.0, "warmup_individuals": 4, "warmup_epochs": 2, "num_groups": 2,
    "num_repeats": 2, "initial_individuals": 4, "exponent": 1.0, "replay_weight": 2.0, "leaving_step": 6, "num_leaving": 4,
}  # fmt: skip


def test_18_a_longer_run_ends_in_the_same_bits_as_one_of_that_length(tmp_path, monkeypatch, capsys):
    from moefacts.cli import app as cli

    run = execute(tiny_config(CONSTANT, f"run.dir={tmp_path}/run"))
    at_once = execute(tiny_config(CONSTANT, "training.steps=20", f"run.dir={tmp_path}/at_once"))
    stale = run / layout.PROBES / "attention.parquet"
    stale.touch()
    monkeypatch.setattr("sys.argv", ["moefacts", "train", "--resume", str(run), "training.steps=20"])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert done.value.code == 0
    assert "resuming from step 12" in capsys.readouterr().err
    assert records(run) == records(at_once)
    assert same(weights(run), weights(at_once))
    assert read_config(run / layout.CONFIG).training.steps == 20
    assert read_manifest(run)["state"] == "finished"
    assert read_manifest(run)["last_step"] == 20
    assert set(CONFIDENCE.read(run)["step"]) == {20}
    assert not stale.exists()


@pytest.mark.parametrize(
    ("settings", "overrides", "answer"),
    [
        (["training.schedule=cosine"], ["training.steps=20"], "only runs with training.schedule=constant can be made longer"),
        ([CONSTANT], ["training.steps=11"], "is less than the run's own 12"),
        ([CONSTANT], ["training.steps=1e2"], "must be a whole number, such as 24"),
        ([CONSTANT], ["training.steps=20", "seed=3"], "leave out seed=3"),
        ([CONSTANT, "sampling.kind=sequential", "sampling.num_groups=2", "sampling.num_repeats=2"], ["training.steps=20"], "it cannot be made longer"),
    ],
)  # fmt: skip
def test_18_what_cannot_be_made_longer_is_refused_with_the_reason(settings, overrides, answer):
    config = tiny_config(*settings)
    with pytest.raises(UserError, match=answer):
        extended(config, overrides)
    assert config == tiny_config(*settings)


def test_18_the_same_number_of_steps_is_no_change():
    assert extended(tiny_config(), ["training.steps=12"]) == tiny_config()


def test_18_a_refused_extension_changes_nothing(fails, finished_run):
    config = finished_run / layout.CONFIG
    config.write_text(config.read_text().replace("schedule: constant", "schedule: cosine"))
    before = {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()}
    assert "training.schedule=cosine" in fails("train", "--resume", finished_run, "training.steps=20")
    assert {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()} == before


def test_18_a_run_that_its_stop_rule_ended_is_not_made_longer(fails, tmp_path, finished_run):
    run = shutil.copytree(finished_run, tmp_path / "run")
    manifest = run / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace('"last_step": 12', '"last_step": 8'))
    assert "was ended by its stop rule" in fails("train", "--resume", run, "training.steps=20")


@pytest.mark.parametrize("name", [name for name in KINDS if not KINDS[name].is_stretched])
def test_18_other_kinds_show_the_same_people_however_many_steps_follow(name):
    config = SamplingConfig(kind=name, **{key: SETTINGS[key] for key in KINDS[name].needs})
    short, long = (KINDS[name](config, 16, steps) for steps in (12, 40))
    weights = [kind.weight_P() for kind in (short, long)]
    assert np.array_equal(*weights) if weights[0] is not None else weights[1] is None
    for step in range(12):
        assert short.support(step, 4, 8) == long.support(step, 4, 8)
