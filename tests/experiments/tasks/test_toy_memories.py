"""The simulations of the toy memories: what is drawn, what is scored, and that they repeat."""

import numpy as np
import pandas as pd
import pytest
import torch

from moefacts.experiments.studies.toy_memory.settings import KEY_VALUE_SETTINGS, SHARED_DIRECTION_SETTINGS
from moefacts.experiments.tasks import toy_memories
from moefacts.experiments.tasks.toy_memories import evaluated_steps, key_value, shared_direction

_ALL = {"shared_direction": 0.5, "is_normalised": True, "both_halves": False, "num_replayed": 0}
PALIT = SHARED_DIRECTION_SETTINGS | {
    "num_facts": 8, "num_values": 4, "d_key": 8, "num_replayable": 2, "batch_size": 4, "pretraining_steps": 3,
    "fine_tuning_steps": 5, "arms": {"all": _ALL, "both": _ALL | {"both_halves": True}, "replay": _ALL | {"num_replayed": 2}},
}  # fmt: skip
STUDYS = KEY_VALUE_SETTINGS | {
    "num_pairs": 16, "num_classes": 3, "d_key": 8, "num_units": 8, "batch_size": 4, "pretraining_steps": 3, "fine_tuning_steps": 5,
    "arms": {"4": {"num_new": 4, "replay_weight": 0.0}, "replay": {"num_new": 2, "replay_weight": 0.5}},
}  # fmt: skip
BOTH = pytest.mark.parametrize(("simulate", "settings"), [(key_value, STUDYS), (shared_direction, PALIT)])


@BOTH
def test_a_seed_gives_the_same_table_whatever_ran_before_and_another_seed_another(simulate, settings):
    table = simulate(3, settings)
    torch.rand(1)
    assert simulate(3, settings).equals(table)
    assert not simulate(4, settings).equals(table)
    assert len(table) == len(settings["arms"]) * table["group"].nunique() * table["step"].nunique()


def test_evaluations_are_dense_early_and_include_the_first_and_the_last_step():
    steps = evaluated_steps(4000)
    assert steps[:4] == [0, 1, 2, 3]
    assert steps[-1] == 4000
    assert (np.diff(steps) > 0).all()
    assert max(np.diff(np.log(steps[10:]))) < 0.25
    assert evaluated_steps(1) == [0, 1]


@pytest.fixture
def training(monkeypatch):
    """The facts of the simulation and what fine-tuning draws of them; nothing is trained."""
    seen = []
    monkeypatch.setattr(toy_memories, "_train", lambda *_: None)
    monkeypatch.setattr(toy_memories, "_fine_tuned", lambda _, __, facts, drawn, groups: seen.append((facts, drawn, groups)) or pd.DataFrame())  # fmt: skip
    return seen


def test_an_old_pair_is_drawn_as_many_times_as_often_as_a_new_one_as_the_weight_says(training):
    key_value(0, STUDYS | {"fine_tuning_steps": 5000})
    ((_, drawn, groups),) = training
    counts = [torch.bincount(drawn[:, arm].flatten(), minlength=20).double() for arm in range(2)]
    assert groups["replay"] == {"old": slice(0, 16), "new": slice(16, 18)}
    assert counts[0][:16].sum() == 0
    assert counts[0][16:].min() > 4800
    assert counts[1][18:].sum() == 0
    assert (counts[1][:16].mean() / counts[1][16:18].mean()).item() == pytest.approx(0.5, rel=0.03)


def test_new_values_are_of_one_half_or_of_both_and_replayed_facts_are_never_scored(training):
    shared_direction(
        0, PALIT | {"num_facts": 100, "fine_tuning_steps": 2000, "num_replayable": 10, "arms": PALIT["arms"]}
    )
    ((facts, drawn, groups),) = training
    drawn_by = dict(zip(groups, ({*drawn[:, arm].flatten().tolist()} for arm in range(3)), strict=True))
    answers = {arm: {*facts.answer_P[groups[arm]["new"]].tolist()} for arm in groups}
    assert {*facts.answer_P[groups["all"]["old"]].tolist()} == {0, 1}
    assert {*facts.answer_P[groups["all"]["old, values as new"]].tolist()} == answers["all"] == {2, 3}
    assert answers["both"] == {0, 1, 2, 3}
    assert drawn_by["all"] == {*range(200, 300)}
    assert drawn_by["both"] == {*range(300, 400)}
    assert drawn_by["replay"] == {0, 1, *range(200, 300)}
    torch.testing.assert_close(facts.key_PD[200:300], facts.key_PD[300:400])
    assert all(members["old"] == slice(10, 100) for members in groups.values())
    counts = torch.bincount(drawn[:, 2].flatten(), minlength=300).double()
    assert (counts[:2].mean() / counts[200:].mean()).item() == pytest.approx(1, rel=0.15)
