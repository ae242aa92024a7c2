"""The parts of a CPU step that we wrote ourselves, each against its counterpart in PyTorch, forward and backward.

On the first batch of the laptop model it compares attention over packed sequences with
``scaled_dot_product_attention`` over padded ones, head and loss in chunks with ``cross_entropy`` of all logits, and
RMSNorm with ``F.rms_norm``. The tests check that values and gradients are equal.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.setting import Result, Row, Setting, TrainingCase, comparison_rows, no_goal
from benchmarks.timing import compare
from moefacts.models.kernels.head_loss import head_loss, head_loss_reference
from moefacts.models.layer import DecoderLayer
from moefacts.models.rotary import rotary_angles
from moefacts.training.pack import pack


def run(setting: Setting) -> Result:
    """Measure every part; ratios are over ours."""
    case = TrainingCase(setting.config("model=dense_laptop"), num_batches=1)
    model, batch, config = case.materials.model, case.batches[0], case.config.model
    packing, inputs_BT = pack(batch), batch.inputs_BT
    layer = model.layers[0]
    assert isinstance(layer, DecoderLayer)
    attention, norm = layer.mixer, layer.mixer_norm
    angles = rotary_angles(inputs_BT.shape[1], config.d_head, config.rope_theta, inputs_BT.device)
    x_ND = torch.randn(len(packing.real_N), config.d_model)
    x_BTD = packing.pad(x_ND)
    target_N = batch.targets_BT.flatten()[packing.real_N]
    weight_VD, scale = model.unembedding_VD, 1 / batch.num_targets

    def back(result_of: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], None]:
        leaf = x.clone().requires_grad_()

        def forward_and_back() -> None:
            result = result_of(leaf)
            result.backward(torch.ones_like(result))

        return forward_and_back

    return compare(
        {
            "attention": {
                "packed": back(lambda x: attention(x, angles, packing)[0], x_ND),
                "padded": back(lambda x: attention(x, angles)[0], x_BTD),
            },
            "head and loss": {
                "in chunks": back(lambda x: head_loss(x, weight_VD, target_N, scale)[0], x_ND),
                "all logits": back(lambda x: head_loss_reference(x, weight_VD, target_N, scale)[0], x_ND),
            },
            "RMSNorm": {
                "ours": back(norm, x_ND),
                "F.rms_norm": back(lambda x: F.rms_norm(x, (config.d_model,), norm.weight, norm.epsilon), x_ND),
            },
        },
        setting.rounds,
    )


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""
    return comparison_rows(result, no_goal)
