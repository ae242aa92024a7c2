"""New experts: the mixture starts as it was, and only they learn."""

import pytest
import torch

from moefacts.errors import UserError
from moefacts.models.kernels.mlp import mlp_reference
from moefacts.models.moe import AddedExperts
from moefacts.training.checkpoint import LoopState, load_weights, save_checkpoint
from moefacts.training.optimizer import build_optimizer
from tests.conftest import tiny_config
from tests.training.finetuning.started import MIXTURE, logits, started, trained

ADDED = ("training.method=new_experts", "model.moe.num_added=2")


@pytest.mark.parametrize(
    "settings", [(), ("model.moe.kind=soft",), ("model.activation=swiglu", "model.moe.num_shared=1")]
)
def test_the_logits_are_those_of_the_mixture_without_them_and_then_change(settings, tmp_path):
    without, old = started(*MIXTURE, *settings)
    config, materials = started(*MIXTURE, *settings, *ADDED)
    save_checkpoint(tmp_path, old.model, build_optimizer(old.model, without.training), LoopState())
    load_weights(tmp_path, 0, materials.model, ".added.")
    batch = materials.batcher.training_batch(0, 4)
    before = logits(old.model, batch)
    assert torch.equal(logits(materials.model, batch), before)
    was, after, step = trained(config, materials)
    moved = {name for name in after if not torch.equal(was[name], after[name])}
    assert moved == {name for name in after if ".added." in name}
    assert {name.partition(".added.")[2] for name in moved} >= {
        "score.weight",
        "score.bias",
        "experts.up",
        "experts.down",
    }
    assert not torch.allclose(logits(materials.model, batch), before)
    assert step.partial.num_trained == sum(after[name].numel() for name in moved)


def test_gates_are_nearly_closed_at_first():
    _, materials = started(*MIXTURE, *ADDED)
    score = materials.model.layers[0].feed_forward.added.score
    gate = score(torch.randn(5, 32)).sigmoid().detach()
    assert float(gate.max()) < 0.02


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_the_output_is_the_gated_sum_over_experts(activation):
    torch.manual_seed(0)
    block, x_ND = AddedExperts(3, 8, 6, activation), torch.randn(5, 8)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    rows = torch.tensor([3, 1])
    found = block(x_ND, rows)
    for place, n in enumerate(rows.tolist()):
        expected = torch.zeros(8)
        for e in range(3):
            gate = torch.sigmoid(block.score.weight[e] @ x_ND[n] + block.score.bias[e])
            own = None if block.experts.gate is None else block.experts.gate[e]
            expected += (
                gate * mlp_reference(x_ND[n : n + 1], block.experts.up[e], own, block.experts.down[e], activation)[0]
            )
        torch.testing.assert_close(found[place], expected)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("training.method=new_experts",), "training.method=new_experts needs a mixture of experts; this model is dense"),
        ((*MIXTURE, "training.method=new_experts"), "needs model.moe.num_added"),
        ((*MIXTURE, "model.moe.num_added=-1"), "model.moe.num_added=-1 is too small"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(overrides, reason):
    with pytest.raises(UserError, match=reason):
        tiny_config("init.run=x", "init.step=1", "init.source=y", *overrides)
