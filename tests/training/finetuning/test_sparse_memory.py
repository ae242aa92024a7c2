"""Sparse memory: slots are counted and scored as the formula says, and only the best of them move."""

import math

import pytest
import torch

from moefacts.config.methods import num_neurons
from moefacts.errors import UserError
from moefacts.models.kernels.mlp import activate
from moefacts.synthetic_data.biography import Role
from moefacts.training.finetuning.sparse_memory import slot_scores, uses
from tests.conftest import tiny_config
from tests.training.finetuning.started import MIXTURE, SHAPES, started, trained

SETTINGS = ("method.cohort=seen", "method.batches=3", "method.slots_per_token=4")
SPARSE = ("training.method=sparse_memory", *SETTINGS, "method.num_slots=20")


def naive_amounts(block, x_D, routing, token):
    """Name of a bank -> |a_i| · ‖v_i‖ of its neurons for one token."""

    def of(up, gate, down, activation):
        a = activate(up @ x_D, None if gate is None else gate @ x_D, activation)
        return torch.tensor([abs(float(a[f])) * float(down[:, f].norm()) for f in range(len(a))])

    if routing is None:
        return {"": of(block.up.weight, block.gate and block.gate.weight, block.down.weight, block.activation)}
    experts, amounts = block.experts, torch.zeros(block.experts.up.shape[:2])
    for n, e, weight in zip(routing.token_A, routing.expert_A, routing.weight_A, strict=True):
        if int(n) == token:
            gate = None if experts.gate is None else experts.gate[e]
            amounts[e] = float(weight) * of(experts.up[e], gate, experts.down[e], experts.activation)
    banks = {".experts": amounts}
    if block.shared is not None:
        banks[".shared"] = naive_amounts(block.shared, x_D, None, token)[""]
    return banks


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@torch.no_grad()
def test_a_token_uses_the_slots_that_write_most_at_the_ends_of_names_and_before_values(shape, activation):
    _, materials = started(*SPARSE, *SHAPES[shape], f"model.activation={activation}")
    model = materials.model.eval()
    batch = materials.batcher.cohort_batch("new", "slots", 0, 1)
    found = uses(model, batch, 4)
    inputs = {}
    for number, layer in enumerate(model.layers):
        layer.feed_forward_norm.register_forward_hook(lambda _, __, x, number=number: inputs.update({number: x}))
    output = model(batch.inputs_BT)
    roles, attributes = batch.role_BT[0].tolist(), batch.attribute_BT[0].tolist()
    places = [
        t
        for t in range(int(batch.length_B[0]) - 1)
        if attributes[t + 1] >= 0 or (roles[t] == Role.LAST_NAME and roles[t + 1] != Role.LAST_NAME)
    ]
    assert 12 <= len(places) < len(roles) / 2  # six names and six values
    expected = {name: torch.zeros_like(count) for name, count in found.items()}
    for number, layer in enumerate(model.layers):
        for t in places:
            banks = naive_amounts(layer.feed_forward, inputs[number][0, t], output.routings.get(number), t)
            every = sorted(
                ((float(amount), name, i) for name, bank in banks.items() for i, amount in enumerate(bank.flatten())),
                reverse=True,
            )
            for amount, name, i in every[:4]:
                if amount > 0:
                    expected[f"layers.{number}.feed_forward{name}"].flatten()[i] += 1
    assert expected.keys() == found.keys()
    for name, count in found.items():
        assert torch.equal(count, expected[name]), name


def test_the_score_is_the_share_of_uses_times_the_rarity_among_old_people():
    config, materials = started(*SPARSE)
    found = slot_scores(config, materials.model, materials.batcher)["layers.0.feed_forward"]
    counts = {
        cohort: [
            uses(materials.model, materials.batcher.cohort_batch(cohort, "slots", n, 8), 4)["layers.0.feed_forward"]
            for n in range(3)
        ]
        for cohort in ("new", "seen")
    }
    total = sum(float(count.sum()) for count in counts["new"])
    for i, score in enumerate(found.tolist()):
        c = sum(float(count[i]) for count in counts["new"])
        df = sum(float(count[i]) > 0 for count in counts["seen"])
        assert score == pytest.approx(c / total * math.log(4 / (df + 1)), abs=1e-9)
    assert float(found.max()) > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_only_the_best_slots_move_whatever_the_weight_decay(shape):
    config, materials = started(*SPARSE, *SHAPES[shape], "model.activation=swiglu")
    scores = slot_scores(config, materials.model, materials.batcher)
    before, after, step = trained(config, materials)
    flat = torch.cat([score.flatten() for score in scores.values()])
    chosen = torch.cat([mask.flatten() for mask in step.method.chosen.values()])
    assert int(chosen.sum()) == 20
    assert float(flat[chosen].min()) >= float(flat[~chosen].max())
    for name, old in before.items():
        bank, _, matrix = name.removesuffix(".weight").rpartition(".")
        if bank not in step.method.chosen:
            assert torch.equal(old, after[name]), name
            continue
        moved = (old != after[name]).any(dim=-2 if matrix == "down" else -1)
        assert torch.equal(moved, step.method.chosen[bank]), name
    width = config.model.d_model
    assert step.partial.num_trained == 20 * 3 * width


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_has_as_many_neurons_as_its_blocks_have(shape):
    config, materials = started(*SHAPES[shape])
    found = sum(parameter[..., 0].numel() for name, parameter in materials.model.named_parameters() if ".up" in name)
    assert num_neurons(config.model) == found


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("training.method=sparse_memory", *SETTINGS), "training.method=sparse_memory needs method.num_slots"),
        ((*SPARSE, "method.num_slots=65"), "method.num_slots=65 is too large; this model has 64 neurons"),
        ((*SPARSE, *MIXTURE, "method.num_slots=129"), "this model has 128 neurons"),
        ((*SPARSE, "method.slots_per_token=0"), "slots_per_token=0 is too small"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(overrides, reason):
    with pytest.raises(UserError, match=reason):
        tiny_config("init.run=x", "init.step=1", "init.source=y", *overrides)
