"""The peer that a reader of nanoGPT would write: the same architecture in plain torch modules, one per projection.

It computes what ours does (its losses are compared), in the layout of nanoGPT: padded batches, one module per
projection, ``scaled_dot_product_attention``, and cross entropy that ignores padding. A mixture is the usual loop over
experts. Its optimizer is fused AdamW.

Shape legend: B batch, T position, D model width, H heads, K head width, N tokens.
"""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moefacts.models.architecture import ModelConfig
from moefacts.models.rotary import Angles, rotary_angles, rotate
from moefacts.models.transformer import Transformer


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.num_heads, self.width = config.num_heads, config.num_heads * config.d_head
        self.qkv = nn.Linear(config.d_model, 3 * self.width, bias=False)
        self.out = nn.Linear(self.width, config.d_model, bias=False)

    def forward(self, x_BTD: Tensor, angles: Angles) -> Tensor:
        """Mix over earlier positions."""
        heads = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in self.qkv(x_BTD).chunk(3, dim=-1))
        q_BHTK, k_BHTK, v_BHTK = heads
        q_BHTK, k_BHTK = rotate(q_BHTK, angles), rotate(k_BHTK, angles)
        mixed_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
        return self.out(mixed_BHTK.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """A feed-forward block, gated if the activation is SwiGLU."""

    def __init__(self, d_model: int, d_hidden: int, activation: str):
        super().__init__()
        self.activation = activation
        self.up = nn.Linear(d_model, d_hidden, bias=False)
        self.gate = nn.Linear(d_model, d_hidden, bias=False) if activation == "swiglu" else None
        self.down = nn.Linear(d_hidden, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to the last axis."""
        if self.gate is not None:
            return self.down(F.silu(self.gate(x)) * self.up(x))
        return self.down(F.gelu(self.up(x)) if self.activation == "gelu" else F.relu(self.up(x)))


class Mixture(nn.Module):
    """The experts with the largest gates, one after the other."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        assert config.moe is not None
        self.moe = config.moe
        self.score = nn.Linear(config.d_model, self.moe.num_experts, bias=False)
        self.experts = nn.ModuleList(
            MLP(config.d_model, self.moe.d_expert, config.activation) for _ in range(self.moe.num_experts)
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Apply the block to the last axis."""
        x_ND = x_BTD.flatten(0, 1)
        weight_NK, expert_NK = self.score(x_ND).softmax(dim=-1).topk(self.moe.experts_per_token, dim=-1)
        if self.moe.renormalize:
            weight_NK = weight_NK / weight_NK.sum(dim=-1, keepdim=True)
        out_ND = torch.zeros_like(x_ND)
        for number, expert in enumerate(self.experts):
            token_A, choice_A = torch.where(expert_NK == number)
            out_ND.index_add_(0, token_A, expert(x_ND[token_A]) * weight_NK[token_A, choice_A, None])
        return out_ND.view_as(x_BTD)


class Block(nn.Module):
    """Attention, then a feed-forward block, each on a normalised input and added to it."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.norm_1 = nn.RMSNorm(config.d_model, config.norm_epsilon)
        self.attention = Attention(config)
        self.norm_2 = nn.RMSNorm(config.d_model, config.norm_epsilon)
        self.block = MLP(config.d_model, config.d_hidden, config.activation) if config.moe is None else Mixture(config)

    def forward(self, x_BTD: Tensor, angles: Angles) -> Tensor:
        """Apply the block."""
        x_BTD = x_BTD + self.attention(self.norm_1(x_BTD), angles)
        return x_BTD + self.block(self.norm_2(x_BTD))


class PlainTransformer(nn.Module):
    """The decoder, called as models of ``transformers`` are."""

    def __init__(self, config: ModelConfig, vocab_size: int):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.RMSNorm(config.d_model, config.norm_epsilon)
        self.head = nn.Linear(config.d_model, vocab_size, bias=False)

    def forward(self, input_ids: Tensor, labels: Tensor) -> SimpleNamespace:
        """The mean loss over labels that are not -100."""
        inputs_BT, labels_BT = input_ids[:, :-1], labels[:, 1:]
        config = self.config
        angles = rotary_angles(inputs_BT.shape[1], config.d_head, config.rope_theta, inputs_BT.device)
        x_BTD = self.embedding(inputs_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, angles)
        logits_BTV = self.head(self.norm(x_BTD))
        return SimpleNamespace(loss=F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten()))


@torch.no_grad()
def plain_model(model: Transformer) -> PlainTransformer:
    """The plain model with the weights of ``model``, on its device."""
    plain = PlainTransformer(model.config, model.vocab_size).to(model.unembedding_VD.device)
    state = model.state_dict()
    plain.load_state_dict(dict(pair for name, weight in state.items() for pair in _renamed(name, weight)))
    return plain.train()


_NAMES = {
    "layers.": "blocks.",
    "mixer_norm.": "norm_1.",
    "feed_forward_norm.": "norm_2.",
    "mixer.": "attention.",
    "feed_forward.": "block.",
    "router.": "",
    "final_norm.": "norm.",
    "unembedding.": "head.",
}


def _renamed(name: str, weight: Tensor) -> list[tuple[str, Tensor]]:
    """The plain model's names of one of our tensors, with their values."""
    if name.endswith("selection_bias_E"):
        return []
    for ours, theirs in _NAMES.items():
        name = name.replace(ours, theirs)
    prefix, found, part = name.rpartition("experts.")
    if not found:
        return [(name, weight.clone())]
    return [(f"{prefix}experts.{expert}.{part}.weight", one.clone()) for expert, one in enumerate(weight)]
