"""Several seeds of one model as one batched model against one training step after another, on the same thread or device.

The batched step stacks the parameters (``torch.func.stack_module_state``), maps gradients over seeds, clips each seed
by its own norm and updates all with one fused AdamW. It takes the whole padded batch: which positions are padding
differs from seed to seed. First losses are checked to agree.
"""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count

import torch
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.setting import Result, Row, Setting, TrainingCase, ratio_text
from benchmarks.timing import time_side_by_side
from moefacts.models.transformer import Transformer, build_model, token_losses
from moefacts.training.step import TrainingStep

NUM_SEEDS = (2, 4)
WORTH_IT = 1.3


def batched_step(case: TrainingCase, models: list[Transformer]) -> Callable[[], torch.Tensor]:
    """A function that takes the next step of all ``models`` and returns their losses."""
    training = case.config.training
    parameters, buffers = stack_module_state(models)  # type: ignore[arg-type]
    skeleton = copy.deepcopy(models[0]).to("meta")
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters.values() if p.ndim >= 3], "weight_decay": training.weight_decay},
            {"params": [p for p in parameters.values() if p.ndim < 3], "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        betas=(training.beta1, training.beta2),
        fused=True,
    )

    def mean_loss(parameters, buffers, inputs_BT, targets_BT, mask_BT):
        logits = functional_call(skeleton, (parameters, buffers), (inputs_BT,)).logits
        return (token_losses(logits, targets_BT) * mask_BT).sum() / mask_BT.sum()

    is_cpu = case.materials.device.type == "cpu"
    gradients_of = vmap(grad_and_value(mean_loss))
    batches = [
        (batch.inputs_BT, batch.targets_BT, batch.target_mask_BT)
        for batch in case.batches
        if batch.token_BT.shape == case.batches[0].token_BT.shape
    ]
    numbers = count()

    def run() -> torch.Tensor:
        number = next(numbers)
        chosen = [batches[(number + seed) % len(batches)] for seed in range(len(models))]
        data = [torch.stack(field) for field in zip(*chosen, strict=True)]
        with sdpa_kernel(SDPBackend.MATH) if is_cpu else nullcontext():  # the CPU's flash kernel has no batching rule
            gradients, losses = gradients_of({k: p.detach() for k, p in parameters.items()}, buffers, *data)
        norm_S = torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()]).norm(dim=0)
        scale_S = (training.clip_norm or float("inf")) / (norm_S + 1e-6)
        for name, gradient in gradients.items():
            shape = (-1, *[1] * (gradient.ndim - 1))
            parameters[name].grad = gradient * scale_S.clamp(max=1.0).view(shape)
        optimizer.step()
        return losses

    return run


def run(setting: Setting) -> Result:
    """Seeds batched and one by one, in turns; the ratio is seconds one by one over seconds batched."""
    result: Result = {}
    for num_seeds in NUM_SEEDS:
        case = TrainingCase(setting.config("model=dense_laptop"))
        vocab_size, device = case.materials.model.vocab_size, case.materials.device
        models = [build_model(case.config.model, vocab_size, seed).to(device) for seed in range(num_seeds)]
        together = batched_step(case, models)
        steps = [TrainingStep(case.config, model, device) for model in models]
        numbers = count()

        def one_by_one(steps=steps, numbers=numbers, case=case) -> list[float]:
            number = next(numbers)
            return [
                step(number, case.batches[(number + seed) % len(case.batches)]).loss for seed, step in enumerate(steps)
            ]

        difference = max(abs(float(a) - float(b)) for a, b in zip(one_by_one(), together(), strict=True))
        timings = time_side_by_side({"one by one": one_by_one, "batched": together}, setting.rounds)
        measured = timings["one by one"].over(timings["batched"]).as_ratio()
        result[f"{num_seeds} seeds"] = measured | {"first_loss_difference": difference}
    return result


def rows(result: Result) -> list[Row]:
    """What the table says."""
    return [
        Row(f"{name}: time one by one / batched", ratio_text(measured), f"≥ {WORTH_IT}", measured["ratio"] >= WORTH_IT)
        for name, measured in result.items()
        if name.endswith("seeds")
    ]
