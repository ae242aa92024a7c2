"""Export a trained model as a folder that ``transformers`` loads without custom code.

Targets are Llama (gated dense), Arcee (dense, not gated), Mixtral (gated experts in every layer, gates that sum to 1),
and Qwen2-MoE for all other gated mixtures. In a Qwen2-MoE export the biases of the projections are zero. Its gated
shared expert is ours with the gate fixed at one half and the weights doubled, or zero when there is none. Every
exported model computes the same function as the trained one.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moefacts.errors import UserError
from moefacts.experiments.tasks.materials import load_run
from moefacts.experiments.tasks.model_card import model_card
from moefacts.models.architecture import ModelConfig
from moefacts.models.attention import CausalSelfAttention
from moefacts.models.feed_forward import FeedForward
from moefacts.models.layer import DecoderLayer
from moefacts.models.moe import MixtureOfExperts
from moefacts.models.transformer import Transformer
from moefacts.runs import layout
from moefacts.runs.durable import new_folder
from moefacts.synthetic_data.tokenizer import Tokenizer
from moefacts.training.tensor_files import save_tensors

_ACTIVATIONS = {"swiglu": "silu", "gelu": "gelu", "relu": "relu"}


def export_run(run: Path, folder: Path, step: int | None = None) -> str:
    """Write a run's model and tokenizer to ``folder`` and return the name of the architecture.

    Args:
        run: the run directory.
        folder: the target folder; it must be empty or not exist.
        step: the checkpoint to export; by default the newest.

    Raises:
        UserError: the run cannot be read, no architecture fits its model, or the folder is not empty.
    """
    if step is None:  # a run in training may write the next one at any time
        step = max(layout.checkpoint_steps(run), default=None)
    settings, materials = load_run(run, step)
    assert step is not None
    model, batcher = materials.model.cpu(), materials.batcher
    architecture = choose_architecture(model)
    config = architecture_config(architecture, model, batcher.tokenizer, batcher.longest)
    files = {
        "config.json": config,
        # without a word about it, text-generation pipelines sample, at a temperature of 0.7
        "generation_config.json": {key: config[key] for key in _IDS}
        | {"max_new_tokens": batcher.longest, "do_sample": False},
        **_tokenizer_files(batcher.tokenizer, config),
    }
    card = model_card(run, step, settings, batcher)
    with new_folder(folder) as temporary:
        save_tensors(temporary / "model.safetensors", exported_weights(architecture, model))
        for name, content in files.items():
            (temporary / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(card, encoding="utf-8")
    return architecture


_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def _tokenizer_files(tokenizer: Tokenizer, config: dict[str, Any]) -> dict[str, Any]:
    """The contents of the files that ``AutoTokenizer`` reads, by name."""
    roles = ("bos_token", "eos_token", "pad_token", "unk_token")
    ids = [*(config[key] for key in _IDS), tokenizer.unknown_id]
    special = dict(zip(roles, tokenizer.tokens(ids), strict=True))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],  # generate refuses the token types of earlier versions
        "model_max_length": config["max_position_embeddings"],
        "split_special_tokens": True,  # so that a begin token that was typed is not added to the one that is put there
        "padding_side": "left",  # generation goes on at the right
    }
    return {
        "tokenizer.json": json.loads(tokenizer.as_backend().to_str()),
        "tokenizer_config.json": settings | special,
        "special_tokens_map.json": special,
    }


def choose_architecture(model: Transformer) -> str:
    """The architecture of ``transformers`` that computes the same function as ``model``.

    Raises:
        UserError: there is none; the message says why.
    """
    config, moe = model.config, model.config.moe
    if config.mixer != "attention":
        raise UserError(
            "no architecture of transformers fits this model: the only one with its recurrent layers, RecurrentGemma, "
            "scales embeddings and caps logits; train with model.mixer=attention"
        )
    if moe is None:
        return "LlamaForCausalLM" if config.activation == "swiglu" else "ArceeForCausalLM"
    reasons = {
        "its experts are not gated, and those of every target are; train with model.activation=swiglu": (
            config.activation != "swiglu"
        ),
        "experts that choose tokens are not causal, and no target has them": moe.kind == "expert_choice",
        f"none is known to route as model.moe.kind={moe.kind} does": moe.kind not in _ROUTED_ALIKE,
        "no target has experts with gates of their own beside the router's": bool(moe.num_added),
        "no target drops tokens over a capacity; train with model.moe.capacity_factor=null": (
            moe.capacity_factor is not None
        ),
        "no target adds a bias to softmax gates for choosing; train with model.moe.balance.bias_rate=0": any(
            bool(block.router.selection_bias_E.any()) for block in _mixtures(model)
        ),
    }
    if reason := next((reason for reason, applies in reasons.items() if applies), None):
        raise UserError(f"no architecture of transformers fits this model: {reason}")
    sums_to_one = moe.kind == "keep_top_k" or (moe.kind == "top_k" and moe.renormalize)
    every_layer = len(moe.layer_numbers(config.num_layers)) == config.num_layers
    return "MixtralForCausalLM" if sums_to_one and every_layer and not moe.num_shared else "Qwen2MoeForCausalLM"


# The kinds whose routing a target reproduces. A kind that is added is refused until somebody has compared the logits.
_ROUTED_ALIKE = ("soft", "top_k", "switch", "keep_top_k")


def _mixtures(model: Transformer) -> list[MixtureOfExperts]:
    return [module for module in model.modules() if isinstance(module, MixtureOfExperts)]


def architecture_config(architecture: str, model: Transformer, tokenizer: Tokenizer, longest: int) -> dict[str, Any]:
    """The ``config.json`` of the exported model."""
    config, moe = model.config, model.config.moe
    common = {
        "architectures": [architecture],
        "model_type": _MODEL_TYPES[architecture],
        "vocab_size": model.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_hidden if moe is None or architecture.startswith("Qwen") else moe.d_expert,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_heads,
        "head_dim": config.d_head,
        "hidden_act": _ACTIVATIONS[config.activation],
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "max_position_embeddings": max(2048, longest),
        "tie_word_embeddings": config.tied_embeddings,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": tokenizer.begin_id,
        "eos_token_id": tokenizer.end_id,
        "pad_token_id": tokenizer.padding_id,
        "dtype": "float32",
    }
    if moe is None:
        return common
    num_chosen = moe.num_experts if moe.kind == "soft" else moe.experts_per_token
    common |= {"num_experts_per_tok": num_chosen, "output_router_logits": False}
    if architecture.startswith("Mixtral"):
        return common | {"num_local_experts": moe.num_experts, "sliding_window": None}
    mixtures = moe.layer_numbers(config.num_layers)
    return common | {
        "num_experts": moe.num_experts,
        "moe_intermediate_size": moe.d_expert,
        "shared_expert_intermediate_size": max(1, moe.num_shared) * moe.d_expert,
        "norm_topk_prob": moe.kind == "keep_top_k" or moe.renormalize,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [number for number in range(config.num_layers) if number not in mixtures],
        "use_sliding_window": False,
    }


_MODEL_TYPES = {
    "LlamaForCausalLM": "llama",
    "ArceeForCausalLM": "arcee",
    "MixtralForCausalLM": "mixtral",
    "Qwen2MoeForCausalLM": "qwen2_moe",
}


def exported_weights(architecture: str, model: Transformer) -> dict[str, Tensor]:
    """The weights of ``model`` under the names that checkpoints of ``architecture`` use."""
    weights = {"model.embed_tokens.weight": model.embedding.weight, "model.norm.weight": model.final_norm.weight}
    if model.unembedding is not None:
        weights["lm_head.weight"] = model.unembedding.weight
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, DecoderLayer)
        assert isinstance(layer.mixer, CausalSelfAttention)
        place = f"model.layers.{number}"
        projections = layer.mixer.qkv.weight.chunk(3)
        for name, projection in zip("qkv", projections, strict=True):
            weights[f"{place}.self_attn.{name}_proj.weight"] = projection
            if architecture.startswith("Qwen"):
                weights[f"{place}.self_attn.{name}_proj.bias"] = torch.zeros(len(projection))
        weights[f"{place}.self_attn.o_proj.weight"] = layer.mixer.out.weight
        weights[f"{place}.input_layernorm.weight"] = layer.mixer_norm.weight
        weights[f"{place}.post_attention_layernorm.weight"] = layer.feed_forward_norm.weight
        block = layer.feed_forward
        if isinstance(block, FeedForward):
            weights |= _feed_forward_weights(block, f"{place}.mlp")
        elif architecture.startswith("Mixtral"):
            weights |= _mixtral_weights(block, f"{place}.block_sparse_moe")
        else:
            weights |= _qwen_weights(block, model.config, f"{place}.mlp")
    return weights


def _feed_forward_weights(block: FeedForward, place: str) -> dict[str, Tensor]:
    weights = {f"{place}.up_proj.weight": block.up.weight, f"{place}.down_proj.weight": block.down.weight}
    return weights if block.gate is None else weights | {f"{place}.gate_proj.weight": block.gate.weight}


def _mixtral_weights(block: MixtureOfExperts, place: str) -> dict[str, Tensor]:
    experts, weights = block.experts, {f"{place}.gate.weight": block.router.score.weight}
    assert experts.gate is not None
    for expert in range(block.config.num_experts):
        for name, stack in (("w1", experts.gate), ("w2", experts.down), ("w3", experts.up)):
            weights[f"{place}.experts.{expert}.{name}.weight"] = stack[expert]
    return weights


def _qwen_weights(block: MixtureOfExperts, config: ModelConfig, place: str) -> dict[str, Tensor]:
    experts, weights = block.experts, {f"{place}.gate.weight": block.router.score.weight}
    assert experts.gate is not None
    for expert in range(block.config.num_experts):
        for name, stack in (("gate_proj", experts.gate), ("down_proj", experts.down), ("up_proj", experts.up)):
            weights[f"{place}.experts.{expert}.{name}.weight"] = stack[expert]
    weights[f"{place}.shared_expert_gate.weight"] = torch.zeros(1, config.d_model)  # sigmoid(0) = 1/2
    shared = block.shared or FeedForward(config.d_model, block.config.d_expert, "swiglu")
    assert shared.gate is not None
    factor = 2.0 if block.shared else 0.0
    return weights | {
        f"{place}.shared_expert.up_proj.weight": shared.up.weight,
        f"{place}.shared_expert.gate_proj.weight": shared.gate.weight,
        f"{place}.shared_expert.down_proj.weight": factor * shared.down.weight,
    }
