"""Which group carries a change is found where only one group has changed, and corrections undo what they are meant to."""

import pytest
import torch

from moefacts.models.transformer import build_model
from moefacts.probes import restored_weights
from moefacts.probes.first_tokens import candidates_of
from moefacts.probes.restored_weights import corrected_measures, restored_tables
from moefacts.probes.shift import one_biography_each
from moefacts.runs import tables
from tests.conftest import tiny_config


@pytest.fixture
def measured(batcher, monkeypatch, tmp_path):
    """The tables of a model of which ``change`` makes the weights of step 7 from those of step 0."""

    def run(change, *overrides):
        model = build_model(tiny_config(*overrides).model, batcher.tokenizer.vocab_size, seed=0)
        start = {name: tensor.clone() for name, tensor in model.state_dict().items()}

        def load(path, step, loaded):
            loaded.load_state_dict(start)
            if step:
                change(loaded)

        monkeypatch.setattr(restored_weights, "load_weights", load)
        found = restored_tables(tmp_path, model, batcher, ["unseen"], [7])
        for table, rows in found.items():
            table.write(tmp_path, rows)
            assert len(table.read(tmp_path)) == len(rows)
        return found[tables.RESTORED], found[tables.CORRECTED], model

    return run


@torch.no_grad()
def change_mlp(model):
    for layer in model.layers:
        layer.feed_forward.down.weight.mul_(-5)


def test_the_group_that_changed_is_the_one_whose_restoring_brings_the_loss_back(measured):
    groups, _, model = measured(change_mlp)
    loss = groups[groups["cohort"] == "unseen"].set_index("group")["attribute_loss"]
    assert loss["mlp"] == loss["all"]
    assert loss["none"] != pytest.approx(loss["all"], abs=1e-3)
    assert {loss[group] for group in ("query_key", "value_output", "embeddings", "norms")} == {loss["none"]}
    change = groups[groups["cohort"] == "unseen"].set_index("group")["relative_change"]
    assert change["mlp"] > 1
    assert change["query_key"] == change["embeddings"] == 0
    assert set(groups["cohort"]) == {"unseen", "seen"}
    down = model.layers[0].feed_forward.down.weight.detach()
    assert float(down.std()) > 0.3  # the model ends with the weights of the last step


def test_losses_are_those_of_the_evaluation(measured, batcher):
    groups, methods, model = measured(change_mlp)
    evaluator = one_biography_each(batcher, "unseen")
    loss = float(evaluator.measure(model).attribute_loss.mean(dtype="float64"))
    ours = groups[groups["cohort"] == "unseen"].set_index("group")["attribute_loss"]
    assert ours["none"] == pytest.approx(loss)
    line = methods[(methods["method"] == "interpolation") & (methods["cohort"] == "unseen")].set_index("amount")
    assert line["attribute_loss"][0.0] == ours["all"]
    assert line["attribute_loss"][1.0] == ours["none"]


@torch.no_grad()
def add_rank_one(model):
    up = model.layers[0].feed_forward.up.weight
    up.add_(torch.outer(torch.linspace(-3, 3, len(up)), torch.linspace(-1, 1, up.shape[1])))


def test_removing_the_top_direction_undoes_a_change_of_rank_one_and_a_random_direction_does_not(measured):
    groups, methods, _ = measured(add_rank_one)
    old = methods[methods["cohort"] == "unseen"].groupby("method")["attribute_loss"]
    loss = groups[groups["cohort"] == "unseen"].set_index("group")["attribute_loss"]
    assert abs(loss["none"] - loss["all"]) > 0.01
    for suffix in ("", "_of_layers"):
        assert old.first()[f"top_direction{suffix}"] == pytest.approx(loss["all"], abs=1e-4)
        assert old.count()[f"random_direction{suffix}"] == 3
        random = methods.query(f"cohort == 'unseen' and method == 'random_direction{suffix}'")["attribute_loss"]
        assert (abs(random - loss["all"]) > 0.01).all()


def test_the_common_part_of_a_shift_is_removed_from_first_tokens_only(batcher):
    model = build_model(tiny_config().model, batcher.tokenizer.vocab_size, seed=0)
    evaluator, candidates = one_biography_each(batcher, "unseen"), candidates_of(batcher)
    common = [torch.randn(len(evaluator.plan), len(one.token_C)).double().numpy() for one in candidates]
    plain, nothing = evaluator.measure(model), corrected_measures(model, evaluator, candidates, [0 * c for c in common])
    assert nothing.attribute_loss == pytest.approx(plain.attribute_loss, abs=1e-5)
    found = corrected_measures(model, evaluator, candidates, common)
    for row, individual in enumerate(evaluator.plan.individual_B):
        (place,) = [(rows == row).nonzero()[0] for rows, *_ in evaluator.batches if (rows == row).any()]
        (batch,) = [batch for rows, batch, *_ in evaluator.batches if (rows == row).any()]
        tokens = batch.token_BT[place[0]]
        assert batch.individual_B[place[0]] == individual
        log_V = model(tokens[None, :-1]).logits[0].detach().double()
        expected = torch.zeros(6, dtype=torch.float64)
        for position in (batch.attribute_BT[place[0]] >= 0).nonzero().flatten().tolist():
            a = int(batch.attribute_BT[place[0], position])
            row_V = log_V[position - 1].clone()
            if batch.value_position_BT[place[0], position] == 0:
                row_V[candidates[a].token_C] -= torch.from_numpy(common[a][row])
            expected[a] -= row_V.log_softmax(0)[tokens[position]]
        assert found.attribute_loss[row] == pytest.approx(expected.numpy(), abs=1e-4)
        if row == 3:
            break


def test_mixtures_have_routers_and_experts(measured):
    mixture = ["model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16"]
    groups, _, _ = measured(lambda model: model.final_norm.weight.data.mul_(2), *mixture)
    assert {"router", "experts", "norms"} < set(groups["group"])
    assert "mlp" not in set(groups["group"])
