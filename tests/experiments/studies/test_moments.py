"""Moments of training follow from a run's phases, and settle on a checkpoint near them or on none."""

import dataclasses

import pytest

from moefacts.errors import UserError
from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies._moments import AttentionOf, checkpoint_at, on_plateau, plateau, plateau_ends
from moefacts.runs import layout
from tests.experiments.studies.made_up import BASELINE, made_up_run

GRID_RUN = GridRun(("evaluation.interval=10",))
START, END = 200, 800


def reference(folder, checkpoints=range(0, 2401, 20), **shape):
    record = made_up_run(GRID_RUN, **({"leaves": END, "start": START, "slope": 0.01, "last": 2400} | shape)).record
    for step in checkpoints:
        layout.checkpoint_folder(folder, step).mkdir(parents=True)
    return dataclasses.replace(record, path=folder)


def test_a_moment_is_as_far_through_the_plateau_or_in_as_many_plateau_ends_as_its_name_says(tmp_path):
    assert [on_plateau(share).step(200, 800) for share in (0, 0.25, 1)] == [200, 350, 800]
    assert [plateau_ends(multiple).step(200, 800) for multiple in (0.5, 1, 2.6)] == pytest.approx([400, 800, 2080])
    assert (on_plateau(0.07).name, plateau_ends(2.6).name) == ("7% into the plateau", "2.6 plateau ends")
    start, end = plateau(reference(tmp_path))
    assert START - 20 < start < START  # the loss comes within 10% of the baseline a little earlier
    assert end == pytest.approx(END, abs=1)


def test_the_nearest_checkpoint_is_taken_and_its_settings_are_those_of_a_twin(tmp_path):
    run = reference(tmp_path)
    start, _ = plateau(run)
    assert checkpoint_at(run, plateau_ends(1.3)) == 1040
    assert abs(checkpoint_at(run, on_plateau(0)) - start) <= 10
    assert AttentionOf(plateau_ends(1.3))([run]) == ("patching.reference_step=1040",)
    frozen = AttentionOf(plateau_ends(1.3), frozen=True)
    assert frozen([run]) == ("patching.reference_step=1040", "patching.start=1040")
    assert frozen == AttentionOf(plateau_ends(1.3), frozen=True)  # a plan recognises its runs by their equality


@pytest.mark.parametrize(
    ("checkpoints", "nearest"),
    [
        ((0, 760, 2400), 760),  # 40 of 800 steps, the tolerance
        ((0, 841, 2400), None),
        ((0, 120), None),
        ((), None),
    ],
)
def test_a_checkpoint_beyond_the_tolerance_is_none(tmp_path, checkpoints, nearest):
    run = reference(tmp_path, checkpoints, leaves=800)
    if nearest is None:
        with pytest.raises(UserError, match="the reference has no.* for step 800, 1 plateau ends"):
            checkpoint_at(run, plateau_ends(1))
    else:
        assert checkpoint_at(run, plateau_ends(1)) == nearest


def test_far_from_the_start_the_tolerance_grows_with_the_moment(tmp_path):
    run = reference(tmp_path, (0, 1980))
    assert checkpoint_at(run, plateau_ends(2.6)) == 1980
    with pytest.raises(UserError, match=r"none nearer than that of step 1,980 for step 2,160, 2\.7 plateau ends"):
        checkpoint_at(run, plateau_ends(2.7))


def hovering(step):
    return {"eval/seen/attribute_loss": BASELINE * (2 if step < START else 0.98 if step % 30 else 1.0)}


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ({"leaves": 50_000, "last": 900}, "no plateau end: the loss never fell below the threshold"),
        ({"start": 5000, "leaves": 50_000, "last": 900}, "no plateau start: its loss never came near the baseline"),
        ({"extra": hovering}, "no plateau end: the loss (hovers|ends) within noise"),
    ],
)
def test_a_run_without_a_plateau_settles_nothing_and_says_why(tmp_path, shape, reason):
    with pytest.raises(UserError, match=f"the reference has {reason}"):
        AttentionOf(on_plateau(0.25))([reference(tmp_path, **shape)])
