"""Our training step against the usual one with the same architecture in ``transformers``, on the same weights and data.

Theirs is what a user would write: the model loaded with default settings (scaled dot product attention), the loss that
it computes from labels with -100 on padding, clipping, and ``torch.optim.AdamW`` with its defaults and no decay on
norms. No attention mask is passed: none is needed because padding is on the right, and theirs is faster without. The
dense model is Arcee (not gated, like the laptop preset). The mixture is Mixtral (gated, so ours is the preset with
``model.activation=swiglu``). Balancing losses are off on both sides. The comparison is void unless the losses of the
first 20 steps agree. The learning rate is 1e-3, because at the laptop preset's 6e-3 rounding flips a router's choice
within ten steps in any implementation, and losses then differ by more than 1e-4.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.setting import Result, Row, Setting, TrainingCase, ratio_text
from benchmarks.timing import time_side_by_side
from moefacts.errors import UserError
from moefacts.experiments.tasks.export import architecture_config, choose_architecture, exported_weights
from moefacts.runs.durable import write_durably
from moefacts.synthetic_data.batches import Batch
from moefacts.training.step import StepMeasures

GOAL = 1.5
COMPARED_STEPS, TOLERANCE = 20, 1e-4
_MODELS = {
    "dense": ["model=dense_laptop"],
    "moe": [
        "model=moe_laptop",
        "model.activation=swiglu",
        "model.moe.balance.token_balance=0",
        "model.moe.balance.z_loss=0",
    ],
}


def load_theirs(case: TrainingCase) -> torch.nn.Module:
    """The model of ``transformers`` that computes the same function, with the same weights.

    Raises:
        UserError: transformers is not installed, or has no such architecture.
    """
    try:
        import transformers
    except ModuleNotFoundError:
        raise UserError("transformers is not installed; pip install -e '.[dev]' brings it") from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model, batcher = case.materials.model, case.materials.batcher
    architecture = choose_architecture(model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = architecture_config(architecture, model, batcher.tokenizer, batcher.longest)
        write_durably(folder / "config.json", json.dumps(config).encode())
        weights = {
            name: tensor.detach().cpu().contiguous() for name, tensor in exported_weights(architecture, model).items()
        }
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    return theirs.to(case.materials.device).train()


def their_stepper(case: TrainingCase, model: torch.nn.Module, fused: bool | None = None) -> Callable[[], torch.Tensor]:
    """A function that makes the next step of the usual training loop and returns its loss.

    Args:
        case: whose settings and batches.
        model: called with ``input_ids`` and ``labels``; its output has a ``loss``.
        fused: whether AdamW is fused; None leaves it to torch.
    """
    training, padding = case.config.training, case.materials.batcher.tokenizer.padding_id
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": training.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=training.learning_rate, betas=(training.beta1, training.beta2), fused=fused
    )
    numbers = count()

    def labels(batch: Batch) -> torch.Tensor:
        return batch.token_BT.masked_fill(batch.token_BT == padding, -100)

    data = [(batch.token_BT, labels(batch)) for batch in case.batches]

    def run() -> torch.Tensor:
        tokens, targets = data[next(numbers) % len(data)]
        optimizer.zero_grad()
        with case.step.autocast():
            loss = model(input_ids=tokens, labels=targets).loss
        loss.backward()
        if training.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        optimizer.step()
        return loss.detach()

    return run


def largest_difference(ours: Callable[[], StepMeasures], theirs: Sequence[Callable[[], torch.Tensor]]) -> float:
    """The largest difference between the losses of ours and of each of the others over the first steps."""
    largest = 0.0
    for _ in range(COMPARED_STEPS):
        loss = float(ours().loss)
        largest = max(largest, *(abs(loss - float(their())) for their in theirs))
    return largest


def run(setting: Setting) -> Result:
    """Measure both models in turns, from the first step on."""
    result: Result = {}
    for name, overrides in _MODELS.items():
        case = TrainingCase(setting.config(*overrides, "training.schedule=constant", "training.learning_rate=1e-3"))
        theirs = load_theirs(case)
        ours_step, their_step = case.stepper(), their_stepper(case, theirs)
        difference = largest_difference(ours_step, [their_step])
        timings = time_side_by_side({"ours": ours_step, "theirs": their_step}, setting.rounds, warmup=0)
        result[name] = timings["theirs"].over(timings["ours"]).as_ratio() | {
            "valid": difference <= TOLERANCE,
            "largest_loss_difference": difference,
            "architecture": type(theirs).__name__,
            "tokens_per_second": case.tokens_per_batch / timings["ours"].spread.median,
            "their_tokens_per_second": case.tokens_per_batch / timings["theirs"].spread.median,
        }
    return result


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""
    table = []
    for name in _MODELS:
        measured = result[name]
        speeds = f"{measured['tokens_per_second']:,.0f} / {measured['their_tokens_per_second']:,.0f}"
        what = f"{name} tokens/s / those of {measured['architecture']} ({speeds})"
        void = "" if measured["valid"] else f" VOID: losses differ by {measured['largest_loss_difference']:.1e}"
        holds = measured["valid"] and measured["ratio"] >= GOAL
        table.append(Row(what, ratio_text(measured) + void, f"≥ {GOAL}", holds))
    return table
