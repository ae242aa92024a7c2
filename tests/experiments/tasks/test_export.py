"""Exported folders are loaded by transformers and compute what the trained model computes."""

import pytest
import torch

from moefacts.config.presets import compose
from moefacts.errors import UserError
from moefacts.experiments.tasks.export import choose_architecture, export_run
from moefacts.experiments.tasks.materials import load_run
from moefacts.experiments.tasks.train import execute
from moefacts.models.transformer import build_model

transformers = pytest.importorskip("transformers")

GATED_MOE = [
    "model=moe_laptop",
    "model.activation=swiglu",
    "model.moe.num_experts=4",
    "model.moe.d_expert=16",
    "model.num_layers=2",
]
CASES = {
    "gelu": ([], "ArceeForCausalLM"),
    "[IDK] and unknown": (["population.strangers=8", "uncertainty.strangers=unknown", "uncertainty.stranger_share=0.5", "uncertainty.idk_factor=0.5"], "ArceeForCausalLM"),
    "relu tied": (["model.activation=relu", "model.tied_embeddings=true"], "ArceeForCausalLM"),
    "swiglu": (["model.activation=swiglu"], "LlamaForCausalLM"),
    "top2 renormalised": (GATED_MOE, "MixtralForCausalLM"),
    "keep_top_k": ([*GATED_MOE, "model.moe.kind=keep_top_k", "model.moe.renormalize=false"], "MixtralForCausalLM"),
    "top2": ([*GATED_MOE, "model.moe.renormalize=false"], "Qwen2MoeForCausalLM"),
    "switch": ([*GATED_MOE, "model.moe.kind=switch", "model.moe.renormalize=false", "model.moe.experts_per_token=1"], "Qwen2MoeForCausalLM"),
    "soft": ([*GATED_MOE, "model.moe.kind=soft", "model.moe.renormalize=false"], "Qwen2MoeForCausalLM"),
    "shared, every second": ([*GATED_MOE, "model.moe.num_shared=2", "model.moe.layers=every_second"], "Qwen2MoeForCausalLM"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_logits_of_the_exported_model_are_those_of_the_trained_one(case, make_config, tmp_path, silent):
    overrides, architecture = CASES[case]
    run = execute(make_config(f"run.dir={tmp_path}/run", *overrides))
    assert export_run(run, tmp_path / "out") == architecture
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", experts_implementation="eager").eval()
    assert type(theirs).__name__ == architecture
    _, materials = load_run(run)
    ours, batch = materials.model.eval(), materials.batcher.training_batch(0, 4)
    with torch.no_grad():
        expected, found = ours(batch.inputs_BT).logits, theirs(batch.inputs_BT).logits
    real = batch.target_mask_BT
    assert torch.allclose(found[real], expected[real], atol=2e-5)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["model=moe_laptop"], "experts are not gated"),
        (["model=dense_laptop_recurrent"], "RecurrentGemma, scales embeddings"),
        ([*GATED_MOE, "model.moe.kind=expert_choice", "model.moe.renormalize=false"], "not causal"),
        ([*GATED_MOE, "model.moe.capacity_factor=1.0"], "capacity"),
    ],
)
def test_a_model_without_a_target_is_refused_with_the_reason(overrides, complaint):
    with pytest.raises(UserError, match=f"no architecture of transformers fits this model: .*{complaint}"):
        choose_architecture(build_model(compose(overrides).model, 50, seed=0))


def test_a_router_with_selection_biases_has_no_target():
    model = build_model(compose(GATED_MOE).model, 50, seed=0)
    model.layers[0].feed_forward.router.selection_bias_E[1] = 0.1
    with pytest.raises(UserError, match="bias_rate=0"):
        choose_architecture(model)


def test_an_export_folder_with_something_in_it_is_left_alone(finished_run, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError, match="not an empty folder"):
        export_run(finished_run, tmp_path)
