"""Taking over runs that a neighbouring study has finished."""

import os
from dataclasses import replace

import pytest

from moefacts.experiments.engine import adopt
from moefacts.experiments.engine.adopt import adopt_finished, find_beside
from moefacts.experiments.engine.grid import BESIDE, HALF_DONE, TO_DO
from moefacts.experiments.engine.launch import runs_to_launch
from moefacts.runs import layout
from moefacts.runs.location import run_name
from moefacts.runs.manifest import FINISHED, INTERRUPTED
from moefacts.synthetic_data.population import build_population
from tests.experiments.engine.run_folders import plan_of, planned, write_manifest, write_run

LONG_AGO = 1_000_000_000


def planned_in(study, *overrides, state=TO_DO):
    """A run in the folder of its study, under the name that its settings give it."""
    run = planned(study / "not yet named", *overrides, state=state)
    return replace(run, path=study / run_name(run.config))


def finish(study, run, state=FINISHED, marked=""):
    """Write the directory of ``run`` in another study, with a checkpoint, a lock and a mark by which it is known."""
    path = study / run.path.name
    write_run(path, run.config, state)
    checkpoint = layout.checkpoint_folder(path, 9) / "model.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("weights")
    (path / "mark").write_text(marked)
    (path / layout.LOCK).touch()
    for file in (checkpoint, path / layout.METRICS):
        os.utime(file, (LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def mine(tmp_path):
    """The folder of the study that takes over; others are beside it."""
    return tmp_path / "mine"


def test_what_was_finished_beside_is_all_there_except_its_lock(mine):
    run = planned_in(mine)
    other = finish(mine.parent / "other", run)
    plan = adopt_finished(plan_of(run, out=mine))
    assert plan.runs == (replace(run, state=FINISHED),)
    copied = {str(path.relative_to(run.path)) for path in run.path.rglob("*")}
    assert copied == {str(path.relative_to(other)) for path in other.rglob("*")} - {layout.LOCK}
    assert (other / layout.LOCK).exists()
    assert list(mine.iterdir()) == [run.path]  # nothing half-made is left


def test_what_is_finished_beside_is_known_before_anything_is_copied(mine):
    run, missing = planned_in(mine), planned_in(mine, "seed=7")
    other = finish(mine.parent / "other", run)
    plan = find_beside(plan_of(run, missing, out=mine))
    assert plan.runs == (replace(run, state=BESIDE, copied_from=other), missing)
    assert runs_to_launch(plan, retry_failed=True) == [missing]
    assert not mine.exists()


def test_checkpoints_take_no_more_space_and_the_rest_is_a_copy_of_its_own(mine):
    run = planned_in(mine)
    other = finish(mine.parent / "other", run)
    adopt_finished(plan_of(run, out=mine))
    checkpoint = layout.checkpoint_folder(run.path, 9) / "model.safetensors"
    assert checkpoint.samefile(layout.checkpoint_folder(other, 9) / "model.safetensors")
    assert not (run.path / layout.METRICS).samefile(other / layout.METRICS)  # training more here changes nothing there
    assert (run.path / layout.METRICS).stat().st_mtime == LONG_AGO


def test_where_links_are_impossible_checkpoints_are_copied(mine, monkeypatch):
    def refuse(source, target):
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    run = planned_in(mine)
    finish(mine.parent / "other", run)
    assert adopt_finished(plan_of(run, out=mine)).runs[0].state == FINISHED
    checkpoint = layout.checkpoint_folder(run.path, 9) / "model.safetensors"
    assert checkpoint.read_text() == "weights"
    assert checkpoint.stat().st_nlink == 1
    assert checkpoint.stat().st_mtime == LONG_AGO


def test_every_run_comes_from_the_first_neighbour_that_has_finished_it(mine):
    first, second = planned_in(mine, "seed=1"), planned_in(mine, "seed=2")
    for study in ("c", "b"):
        for run in (first, second):
            finish(mine.parent / study, run, marked=study)
    finish(mine.parent / "a", first, state=INTERRUPTED, marked="a")
    plan = adopt_finished(plan_of(first, second, out=mine))
    assert [run.state for run in plan.runs] == [FINISHED, FINISHED]
    assert [(run.path / "mark").read_text() for run in plan.runs] == ["b", "b"]


def test_a_run_with_other_settings_is_not_taken_over(mine):
    run = planned_in(mine)
    finish(mine.parent / "other", planned_in(mine, "training.steps=7"))
    assert adopt_finished(plan_of(run, out=mine)).runs == (run,)
    assert not mine.exists()


def test_a_run_that_has_begun_here_goes_on_here(mine):
    run = planned_in(mine, state=HALF_DONE)
    write_run(run.path, run.config, INTERRUPTED)
    finish(mine.parent / "other", run)
    assert adopt_finished(plan_of(run, out=mine)).runs == (run,)
    assert not (run.path / "mark").exists()


def test_a_run_that_was_killed_before_it_had_a_manifest_does_not_stop_the_study(mine):
    """Its state is "to do", but its folder is not empty, so nothing can be copied there: it is trained."""
    run, other = planned_in(mine), planned_in(mine, "seed=1")
    for one in (run, other):
        finish(mine.parent / "other", one)
    run.path.mkdir(parents=True)
    (run.path / layout.LOCK).touch()
    assert [one.state for one in adopt_finished(plan_of(run, other, out=mine)).runs] == [TO_DO, FINISHED]
    assert [path.name for path in run.path.iterdir()] == [layout.LOCK]


def test_what_a_run_needs_is_taken_over_too(mine):
    needed = planned_in(mine, "seed=1")
    finish(mine.parent / "other", needed)
    plan = adopt_finished(plan_of(planned_in(mine), out=mine, prerequisites=(needed,)))
    assert ([run.state for run in plan.runs], plan.prerequisites[0].state) == ([TO_DO], FINISHED)


def test_the_first_study_ever_has_no_neighbours(mine):
    run = planned_in(mine / "deeper")
    assert adopt_finished(plan_of(run, out=mine / "deeper")).runs == (run,)


def test_files_and_folders_of_other_things_beside_are_passed_over(mine):
    run = planned_in(mine)
    finish(mine.parent / "other", run)
    (mine.parent / "all.html").touch()
    strange = mine.parent / "b" / run.path.name
    strange.mkdir(parents=True)
    write_manifest(strange, state=FINISHED)  # without a configuration, the name proves nothing
    assert adopt_finished(plan_of(run, out=mine)).runs[0].state == FINISHED


def test_1_of_two_processes_that_copy_the_same_runs_neither_is_stopped_or_mixed_with_the_other(mine, monkeypatch):
    """The second begins and ends while the first copies its first file (issue 16, line 1)."""
    runs = [planned_in(mine, f"seed={seed}") for seed in (0, 1)]
    for run in runs:
        finish(mine.parent / "other", run)
    plan, copy, states = plan_of(*runs, out=mine), adopt._link_or_copy, []

    def overtaken(source, target):
        monkeypatch.setattr(adopt, "_link_or_copy", copy)
        states.extend(run.state for run in adopt_finished(plan).runs)
        copy(source, target)

    monkeypatch.setattr(adopt, "_link_or_copy", overtaken)
    states.extend(run.state for run in adopt_finished(plan).runs)
    assert states == [FINISHED] * 4
    assert sorted(mine.iterdir()) == sorted(run.path for run in runs)


def test_1_a_run_that_is_removed_while_it_is_copied_is_trained(mine, monkeypatch):
    run = planned_in(mine)
    other = finish(mine.parent / "other", run)

    def vanished(source, target):
        raise FileNotFoundError(source)

    monkeypatch.setattr(adopt, "_link_or_copy", vanished)
    assert adopt_finished(plan_of(run, out=mine)).runs == (run,)
    assert other.exists()
    assert list(mine.iterdir()) == []


def test_3_what_is_half_written_in_a_run_is_not_copied(mine):
    run = planned_in(mine)
    other = finish(mine.parent / "other", run)
    (other / "probes").mkdir()
    (other / "probes" / ".attention.parquet.0123abcd-17-0.tmp").touch()
    (other / layout.WRITING_LOCK).touch()
    adopt_finished(plan_of(run, out=mine))
    assert list((run.path / "probes").iterdir()) == []
    assert not (run.path / layout.WRITING_LOCK).exists()


def test_2_a_run_whose_settings_were_edited_after_it_was_trained_is_not_taken_over(mine):
    run = planned_in(mine, "seed=5")
    trained = build_population(run.config.population, 0).fingerprint
    other = finish(mine.parent / "other", run)
    write_run(other, run.config, population_fingerprint=trained)
    assert adopt_finished(plan_of(run, out=mine)).runs == (run,)
    write_run(other, run.config, population_fingerprint=build_population(run.config.population, 5).fingerprint)
    assert adopt_finished(plan_of(run, out=mine)).runs[0].state == FINISHED
