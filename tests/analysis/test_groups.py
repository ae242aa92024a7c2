import shutil
from dataclasses import replace

import pytest

from moefacts.analysis.groups import choose_runs, group_by_seed
from moefacts.config.identity import digest
from moefacts.config.loader import config_yaml
from moefacts.config.presets import compose
from moefacts.config.sections import InitConfig
from moefacts.runs import layout
from moefacts.runs.manifest import FINISHED
from moefacts.runs.reader import Run
from tests.conftest import TINY


@pytest.fixture(scope="module")
def make():
    """A run of a configuration: no curve, no file."""
    composed = {}

    def run(path, *overrides, seed=0, state=FINISHED):
        if overrides not in composed:
            composed[overrides] = compose([*TINY, *overrides])
        return Run(path, replace(composed[overrides], seed=seed), {"state": state}, [])

    return run


def test_a_copy_of_a_run_is_left_out_and_named_with_what_it_copies(make):
    first, copy, other = make("first"), make("copy"), make("other", seed=1)
    chosen, notes = choose_runs([first, copy, other])
    assert chosen == [first, other]
    assert notes == ["copy is the same run as first and is left out"]


def test_unfinished_runs_are_left_out_only_if_others_are_finished(make):
    finished, running = make("finished"), make("running", seed=1, state="running")
    assert choose_runs([finished, running]) == ([finished], ["running is not finished (running) and is left out"])
    assert choose_runs([running]) == ([running], [])


def test_an_unfinished_copy_does_not_stand_in_for_the_finished_run(make):
    running, finished = make("running", state="running"), make("finished")
    assert choose_runs([running, finished])[0] == [finished]


def test_runs_in_different_folders_can_be_in_one_group(make):
    (group,) = group_by_seed([make("a", "run.dir=a"), make("b", "run.dir=b", seed=1)])
    assert len(group.runs) == 2
    assert group.label == "dense_laptop"  # nothing varies


def test_groups_are_labelled_only_by_what_varies(make):
    runs = [make("a"), make("b", "training.batch_size=4", "population.size=40")]
    assert [group.label for group in group_by_seed(runs)] == ["size=48, batch_size=8", "size=40, batch_size=4"]


def test_models_of_different_presets_are_labelled_by_their_presets_alone(make):
    runs = [make("a", "model=dense_laptop"), make("b", "model=moe_laptop"), make("c", "model=moe_laptop", seed=1)]
    groups = group_by_seed(runs)
    assert {group.label: len(group.runs) for group in groups} == {"preset=dense_laptop": 1, "preset=moe_laptop": 2}


def test_models_of_one_preset_are_labelled_by_the_model_settings_that_vary(make):
    runs = [make("a"), make("b", "model.num_layers=2")]
    assert [group.label for group in group_by_seed(runs)] == ["num_layers=1", "num_layers=2"]


def test_a_nested_setting_is_labelled_by_its_last_name(make):
    runs = [make("a", "model=moe_laptop"), make("b", "model=moe_laptop", "model.moe.num_experts=4")]
    assert [group.label for group in group_by_seed(runs)] == ["num_experts=8", "num_experts=4"]


def test_a_single_run_is_a_group_and_top_level_settings_are_labels_too(make):
    assert group_by_seed([make("a")])[0].label == "dense_laptop"
    runs = [make("a"), make("b", "tokenizer=sentencepiece_32k")]
    assert [group.label for group in group_by_seed(runs)] == ["tokenizer=word", "tokenizer=sentencepiece_32k"]


def test_how_often_runs_are_evaluated_is_in_labels_only_if_nothing_else_tells_them_apart(make):
    runs = [make("a"), make("b", "population.size=96", "evaluation.interval=2", "training.stop_after_plateau=4")]
    assert [group.label for group in group_by_seed(runs)] == ["size=48", "size=96"]
    assert [group.label for group in group_by_seed([make("a"), make("b", "evaluation.interval=2")])] == [
        "interval=4",
        "interval=2",
    ]


@pytest.fixture
def tuned(make, tmp_path):
    """A run that was fine-tuned from the last of two checkpoints of another one, which is written."""

    def run(path, *overrides, seed=0, last=8, source=(), step=None):
        before = make(path, *source, seed=seed).settings
        folder = tmp_path / path
        for checkpoint in (4, last):
            layout.checkpoint_folder(folder, checkpoint).mkdir(parents=True)
        (folder / layout.CONFIG).write_text(config_yaml(before))
        started = make(path, *overrides, seed=seed)
        init = InitConfig(str(folder), last if step is None else step, digest(before))
        return replace(started, settings=replace(started.settings, init=init))

    return run


def test_fine_tuned_runs_differ_only_in_their_seed_if_their_sources_do(tuned):
    (group,) = group_by_seed([tuned("a"), tuned("b", seed=1, last=12)])
    assert (len(group.runs), group.label) == (2, "dense_laptop")
    rates = [tuned("c"), tuned("d", source=("training.learning_rate=0.5",))]
    assert len(group_by_seed(rates)) == 2
    assert len(group_by_seed([tuned("e"), tuned("f", seed=1, step=4)])) == 2


def test_sources_are_in_labels_only_if_nothing_else_tells_groups_apart(tuned):
    runs = [tuned("a"), tuned("b", "training.batch_size=4", source=("training.batch_size=4",))]
    assert [group.label for group in group_by_seed(runs)] == ["batch_size=8", "batch_size=4"]
    alike = group_by_seed([tuned("c"), tuned("d", source=("training.learning_rate=0.5",))])
    assert all(group.label.startswith("source=") for group in alike)
    assert alike[0].label != alike[1].label


def test_runs_whose_sources_are_gone_are_not_taken_for_alike(tuned, tmp_path):
    runs = [tuned("a"), tuned("b", seed=1)]
    shutil.rmtree(tmp_path / "b")
    assert len(group_by_seed(runs)) == 2


def test_cohorts_are_in_labels_only_if_nothing_else_tells_groups_apart(make):
    cohorts = "population.cohorts={{{name}: {{part_of: new, stop: {stop}}}}}"
    runs = [
        make(name, cohorts.format(name=name, stop=stop), f"sampling.cohort={name}", f"evaluation.cohorts=[{name},seen]")
        for name, stop in (("new_2", 2), ("new_4", 4))
    ]
    assert [group.label for group in group_by_seed(runs)] == ["cohort=new_2", "cohort=new_4"]


def test_mixtures_of_one_preset_are_told_apart_by_what_differs_and_is_on(make):
    """Seven balancings of one preset all bore the name of the preset."""
    mixture = "model=moe_laptop"
    runs = [
        make("a", "model=dense_laptop"),
        make("b", mixture, "model.moe.balance.z_loss=0", "model.moe.balance.token_balance=0"),
        make("c", mixture, "model.moe.balance.z_loss=0.1", "model.moe.balance.token_balance=0"),
        make("d", mixture, "model.moe.balance.z_loss=0.1", "model.moe.balance.token_balance=0.2"),
    ]
    assert [group.label for group in group_by_seed(runs)] == [
        "preset=dense_laptop",
        "preset=moe_laptop",
        "preset=moe_laptop, z_loss=0.1",
        "preset=moe_laptop, token_balance=0.2, z_loss=0.1",
    ]
