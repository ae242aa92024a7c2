"""The parts of a CPU step that we wrote ourselves, each against what PyTorch offers, forward and backward.

On the first batch of the laptop model: attention over packed sequences against ``scaled_dot_product_attention`` over
padded ones, head and loss in chunks against ``cross_entropy`` of all logits, RMSNorm against ``F.rms_norm``, and the
first layer's attention, which may norm and project once a word of the vocabulary, against once a token.
Forward only, as evaluation needs it in the last layer: attention from the tokens before values against that from all.
The tests check that values and gradients are equal.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.setting import Result, Row, Setting, TrainingCase, comparison_rows, no_goal
from benchmarks.timing import compare
from moefacts.models.head_loss import scaled_token_losses
from moefacts.models.rotary import rotary_angles
from moefacts.models.transformer import DecoderLayer, Words, token_losses
from moefacts.training.packing import pack


def run(setting: Setting) -> Result:
    """Every part; ratios are over ours."""
    case = TrainingCase(setting.config("model=dense_laptop"), num_batches=1)
    model, batch, config = case.materials.model, case.batches[0], case.config.model
    packing, inputs_BT = pack(batch), batch.inputs_BT
    layer = model.layers[0]
    assert isinstance(layer, DecoderLayer)
    attention, norm = layer.attention, layer.attention_norm
    assert attention is not None
    cos_TK, sin_TK = rotary_angles(inputs_BT.shape[1], config.d_head, config.rope_theta, inputs_BT.device)
    x_ND = torch.randn(len(packing.real_N), config.d_model)
    x_BTD = packing.pad(x_ND)
    at_M = packing.find((batch.attribute_BT[:, 1:] >= 0).flatten().nonzero().squeeze(1))
    token_N = inputs_BT.flatten()[packing.real_N]
    target_N = batch.targets_BT.flatten()[packing.real_N]
    weight_VD, scale = model.unembedding_VD, 1 / batch.num_targets

    def back(result_of: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], None]:
        leaf = x.clone().requires_grad_()

        def forward_and_back() -> None:
            result = result_of(leaf)
            result.backward(torch.ones_like(result))

        return forward_and_back

    def first_layer(embedding_VD: Tensor, words: Words | None) -> Tensor:
        return layer.attend(F.embedding(token_N, embedding_VD), cos_TK, sin_TK, packing, words=words)

    def looked_at(at_M: Tensor | None) -> Callable[[], Tensor]:
        return torch.no_grad()(lambda: attention(x_ND, cos_TK, sin_TK, packing, at_M))

    return compare(
        {
            "attention": {
                "packed": back(lambda x: attention(x, cos_TK, sin_TK, packing), x_ND),
                "padded": back(lambda x: attention(x, cos_TK, sin_TK), x_BTD),
            },
            "head and loss": {
                "in chunks": back(lambda x: scaled_token_losses(x, weight_VD, target_N, scale)[0], x_ND),
                "all logits": back(lambda x: token_losses(F.linear(x, weight_VD), target_N).sum() * scale, x_ND),
            },
            "RMSNorm": {
                "ours": back(norm, x_ND),
                "F.rms_norm": back(lambda x: F.rms_norm(x, (config.d_model,), norm.weight, norm.epsilon), x_ND),
            },
            "first layer's attention": {
                "once a word": back(lambda x: first_layer(x, Words(x, token_N)), model.embedding.weight.detach()),
                "once a token": back(lambda x: first_layer(x, None), model.embedding.weight.detach()),
            },
            "attention without gradients": {"from chosen tokens": looked_at(at_M), "from all": looked_at(None)},
        },
        setting.rounds,
    )


def rows(result: Result) -> list[Row]:
    """What the table says."""
    return comparison_rows(result, no_goal)
