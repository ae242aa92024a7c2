"""LoRA: changes have the rank and the place that they should, and who reads a checkpoint sees plain weights."""

import pytest
import torch

from moefacts.errors import UserError
from moefacts.experiments.tasks.materials import prepare
from moefacts.models.weight_groups import groups_of
from moefacts.training.adapters import low_rank_change
from moefacts.training.checkpoint import LoopState, load_checkpoint, load_weights, save_checkpoint
from moefacts.training.finetuning.lora import adapters
from moefacts.training.step import TrainingStep
from tests.conftest import tiny_config
from tests.training.finetuning.started import MIXTURE, SHAPES, logits, started, trained

LORA = ("training.method=lora", "method.rank=3", "method.alpha=6", "training.learning_rate=0.01")
ALL = "method.targets=[attention,mlp,router,experts]"


def plain(name):
    """The name of the weight that an original or a change belongs to."""
    owner, mark, rest = name.partition(".parametrizations.")
    return f"{owner}.{rest.split('.')[0]}" if mark else name


@pytest.mark.parametrize("targets", [["attention"], ["mlp"], ["router"], ["experts"], ["attention", "experts"]])
def test_each_target_has_the_parameters_of_its_rank_and_no_other_weight_moves(targets):
    config, materials = started(*LORA, *SHAPES["mixture"], f"method.targets=[{','.join(targets)}]")
    weights = {name: parameter.detach().clone() for name, parameter in materials.model.named_parameters()}
    before, after, step = trained(config, materials)
    expected = 0
    for name, weight in weights.items():
        if groups_of(name, config.model) & set(targets):
            num_experts = len(weight) if weight.ndim == 3 else 1
            expected += 3 * num_experts * (weight.shape[-1] + weight.shape[-2])
    assert step.partial.num_trained == expected
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved == {name for name in after if ".lora_" in name}
    assert {plain(name) for name in moved} == {n for n in weights if groups_of(n, config.model) & set(targets)}
    for name, parameter in after.items():
        if name not in moved:
            assert torch.equal(parameter, weights[plain(name)]), name


def test_the_model_starts_as_it_was():
    config, materials = started(*LORA, *SHAPES["mixture"], ALL)
    batch = materials.batcher.training_batch(0, 4)
    before = logits(materials.model, batch)
    TrainingStep(config, materials.model, materials.device)
    assert torch.equal(logits(materials.model, batch), before)


@pytest.mark.parametrize("shape", [(5, 7), (4, 5, 7), (1, 5, 7)])
def test_the_change_is_that_of_peft_and_of_the_formula(shape):
    weight = torch.nn.Parameter(torch.randn(shape))
    (wrapper,) = adapters({"w": weight}, 2, 6).values()
    down, up = wrapper.lora_A["default"].weight.detach(), wrapper.lora_B["default"].weight.detach()
    up.normal_()
    found = low_rank_change(down, up, torch.tensor(3.0), weight.shape)
    assert torch.equal(found, wrapper.get_delta_weight("default").detach().view(shape))
    for e, change in enumerate(found.view(-1, 5, 7)):
        own_down = down.view(-1, 2, 7)[e]
        own_up = up.view(5, 2, -1)[:, :, e]
        torch.testing.assert_close(change, 3 * own_up @ own_down)
        assert int(torch.linalg.matrix_rank(change)) == 2


@pytest.mark.parametrize("shape", SHAPES)
def test_a_checkpoint_gives_a_plain_model_the_same_function_and_an_adapted_one_its_state(shape, tmp_path):
    targets = ALL if shape == "mixture" else "method.targets=[attention,mlp]"
    config, materials = started(*LORA, *SHAPES[shape], targets)
    _, _, step = trained(config, materials)
    save_checkpoint(tmp_path, materials.model, step.optimizer, LoopState(step=3))
    batch = materials.batcher.training_batch(0, 4)
    read = prepare(config).model
    fresh = logits(read, batch)
    load_weights(tmp_path, 3, read)
    assert torch.equal(logits(read, batch), logits(materials.model, batch))
    assert not torch.allclose(logits(read, batch), fresh)

    others = prepare(config)
    resumed = TrainingStep(config, others.model, others.device)
    load_checkpoint(tmp_path, 3, others.model, resumed.optimizer)
    for one in (step, resumed):
        one(3, materials.batcher.training_batch(3, 8))
    for name, parameter in others.model.named_parameters():
        assert torch.equal(parameter, dict(materials.model.named_parameters())[name]), name


def test_adapters_start_the_same_whatever_was_drawn_before():
    def first():
        config, materials = started(*LORA, "method.targets=[mlp]")
        torch.rand(5)
        TrainingStep(config, materials.model, materials.device)
        return {name: parameter for name, parameter in materials.model.named_parameters() if ".lora_A." in name}

    one, other = first(), first()
    assert all(torch.equal(parameter, other[name]) for name, parameter in one.items())
    assert one


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (LORA, "training.method=lora needs method.targets"),
        ((*LORA, "method.targets=[experts]"), "method.targets: this model has no experts; it has embeddings"),
        ((*LORA, *MIXTURE, "method.targets=[mlp]"), "method.targets: this model has no mlp"),
        ((*LORA, "method.targets=[head]"), "method.targets=head is not a valid value"),
        ((*LORA, "method.targets=[mlp,mlp]"), "must name each group once"),
        ((*LORA, "method.targets=[mlp]", "model.mixer=rg_lru"), "needs model.mixer=attention"),
        ((*LORA, "method.targets=[mlp]", "training.compile=true"), "does not work with training.compile=true"),
        ((*LORA, "method.targets=[mlp]", "parallel=fsdp"), "does not work with parallel=fsdp"),
        (("method.rank=2",), "method.rank=2 has no effect without training.method=lora"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(overrides, reason):
    with pytest.raises(UserError, match=reason):
        tiny_config("init.run=x", "init.step=1", "init.source=y", *overrides)
