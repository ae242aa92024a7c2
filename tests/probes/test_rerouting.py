"""Tokens that moved and experts that changed are counted where they were put."""

import itertools

import numpy as np
import pytest
import torch

from moefacts.models.transformer import build_model
from moefacts.probes import rerouting
from moefacts.probes.rerouting import distance_by_chance, expert_changes, rerouting_tables, token_kinds, use_distance
from moefacts.probes.shift import one_biography_each
from moefacts.runs import tables
from moefacts.synthetic_data.biography import Role
from tests.conftest import tiny_config

MIXTURE = ["model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16", "model.num_layers=2"]


@pytest.fixture
def tabled(batcher, monkeypatch, tmp_path):
    def run(change):
        model = build_model(tiny_config(*MIXTURE).model, batcher.tokenizer.vocab_size, seed=0)
        start = {name: tensor.clone() for name, tensor in model.state_dict().items()}

        def load(path, step, loaded):
            loaded.load_state_dict(start)
            if step:
                change(loaded)

        monkeypatch.setattr(rerouting, "load_weights", load)
        found = rerouting_tables(tmp_path, model, batcher, ["unseen"], [7])
        for table, rows in found.items():
            table.write(tmp_path, rows)
            assert len(table.read(tmp_path)) == len(rows)
        return found[tables.REROUTED], found[tables.EXPERT_CHANGE]

    return run


@torch.no_grad()
def change_one_expert(model):
    model.layers[1].feed_forward.experts.up[2].mul_(3)


@torch.no_grad()
def rotate_router(model):
    score = model.layers[1].feed_forward.router.score.weight
    score.copy_(score.roll(1, dims=0))


def test_the_expert_whose_weights_changed_is_the_one_that_is_named(tabled):
    _, experts = tabled(change_one_expert)
    late = experts[experts["step"] == 7].set_index(["layer", "expert"])["relative_change"]
    assert late[late > 0].index.tolist() == [(1, 2)]
    assert (experts[experts["step"] == 0]["relative_change"] == 0).all()
    by_layer = experts.groupby(["step", "layer"])[["old_use", "learned_use"]].sum()
    assert by_layer.to_numpy() == pytest.approx(1)


def test_a_router_whose_experts_change_places_moves_every_token_of_its_layer_alone(tabled):
    moved, _ = tabled(rotate_router)
    share = moved[moved["step"] == 7].groupby("layer")["moved"]
    assert share.min()[1] == 1
    assert share.max()[0] == 0
    assert (moved[moved["step"] == 0]["moved"] == 0).all()
    assert (moved[moved["cohort"] == "seen"]["distance_to_learned"] == 0).all()  # they are the learned ones here


def test_relative_changes_of_experts_are_norms():
    generator = torch.Generator().manual_seed(0)
    names = [f"layers.0.feed_forward.experts.{name}" for name in ("up", "down")]
    before = {name: torch.randn(3, 4, 5, generator=generator) for name in names}
    before["layers.0.feed_forward.router.score.weight"] = torch.ones(3, 4)
    after = {name: tensor + torch.randn(tensor.shape, generator=generator) for name, tensor in before.items()}
    for expert, found in enumerate(expert_changes(before, after, 0)):
        start, end = (torch.cat([weights[name][expert].flatten() for name in names]) for weights in (before, after))
        assert found == pytest.approx(float((end - start).norm() / start.norm()), rel=1e-5)


def test_the_distance_of_uses_is_the_share_of_assignments_to_move():
    one, other = np.array([[0, 1], [0, 2]]), np.array([[0, 1], [3, 3]])
    assert use_distance(one, other, 4) == pytest.approx(0.5)
    assert use_distance(one, one[::-1], 4) == 0
    assert use_distance(one[:, :1], other[1:], 4) == 1


def test_people_alike_are_apart_by_chance_alone():
    random = np.random.default_rng(0)
    individual_N = np.repeat(np.arange(100), 20)
    alike = random.integers(4, size=(2000, 1))
    drawn, halves = distance_by_chance(alike, individual_N, 70, 4, 0)
    assert drawn == 50
    assert halves < 0.06
    assert distance_by_chance(alike, individual_N, 2, 4, 0)[1] > 2 * halves
    nobody, unknown = distance_by_chance(alike, np.zeros(2000), 2, 4, 0)
    assert nobody == 0
    assert np.isnan(unknown)


def test_kinds_of_tokens_are_those_of_their_roles(batcher):
    evaluator = one_biography_each(batcher, "new")
    kinds = token_kinds(evaluator)
    counted = dict.fromkeys(kinds, 0)
    for _, batch, _, _ in evaluator.batches:
        for roles in batch.role_BT.tolist():
            for role, following in itertools.pairwise(roles):
                if following == Role.PADDING:
                    continue
                counted["all"] += 1
                counted["name_end"] += role == Role.LAST_NAME and following != Role.LAST_NAME
                counted["before_value"] += following == Role.FIRST_VALUE
    assert {kind: int(is_N.sum()) for kind, is_N in kinds.items()} == counted
    assert counted["name_end"] == counted["before_value"] == 8 * 6
