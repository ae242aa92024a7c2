"""Self-distillation: the penalty is the divergence from the model at the start, on other people than are learned."""

import pytest
import torch

from moefacts.errors import UserError
from moefacts.training.methods import METHODS
from tests.conftest import tiny_config
from tests.training.finetuning.started import MIXTURE, started, trained

DISTILLED = ("training.method=self_distillation", "method.cohort=unseen", "method.distillation=0.7")


def test_the_penalty_is_the_mean_divergence_over_tokens_of_people_who_are_not_learned():
    config, materials = started(*DISTILLED)
    model = materials.model
    method = METHODS["self_distillation"](config, model, materials.batcher)
    assert float(method.penalty(model, 0).detach()) == pytest.approx(0, abs=1e-6)
    batch = materials.batcher.cohort_batch("unseen", "distillation", 5, config.training.batch_size)
    assert set(batch.individual_B.tolist()) <= set(materials.batcher.population.cohort("unseen"))
    with torch.no_grad():
        before = model(batch.inputs_BT).logits.softmax(dim=-1)
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        now = model(batch.inputs_BT).logits.softmax(dim=-1)
    divergence_BT = (before * (before / now).log()).sum(dim=-1)
    expected = 0.7 * float(divergence_BT[batch.target_mask_BT].mean())
    assert expected > 0.001
    assert float(method.penalty(model, 5).detach()) == pytest.approx(expected, rel=1e-4)
    assert float(method.penalty(model, 6).detach()) != float(method.penalty(model, 5).detach())


@pytest.mark.parametrize("shape", [(), MIXTURE])
def test_it_holds_the_model_back_on_the_others(shape):
    def divergence(*settings):
        config, materials = started(*DISTILLED, *settings, *shape, "training.learning_rate=0.01")
        measure = METHODS["self_distillation"](config, materials.model, materials.batcher)
        trained(config, materials, steps=4)
        return float(measure.penalty(materials.model, 99).detach()) / config.method.distillation

    assert divergence("method.distillation=30") < 0.7 * divergence("method.distillation=1e-9")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (DISTILLED[:2], "training.method=self_distillation needs method.distillation"),
        ((*DISTILLED, "sampling.cohort=unseen"), "method.cohort=unseen and the people who are learned, unseen, share 32 people"),
        ((*DISTILLED, "method.distillation=-1"), "method.distillation=-1.* is too small"),
        ((*DISTILLED, "training.compile=true"), "does not work with training.compile=true"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(overrides, reason):
    with pytest.raises(UserError, match=reason):
        tiny_config("init.run=x", "init.step=1", "init.source=y", *overrides)
