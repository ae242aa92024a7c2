"""Training at paper scale on one CUDA device, in one command of under 8 minutes: ``python -m benchmarks gpu``.

It needs CUDA, torch, numpy, safetensors, omegaconf, hydra-core, pyarrow, filelock, rich, sentencepiece, protobuf and
mistral-common (``pip install --no-deps`` is enough for the last), but neither datasets nor wandb.

It measures the bf16 peak of one large matrix product. For the dense and the mixture 44M model, eager and compiled, it
measures the step including batch assembly, tokens/s, peak memory, and the utilisation of the bf16 peak. Utilisation
counts 6 FLOPs for every active weight that multiplies and every token that is not padding, and 12·length·width FLOPs
per token and layer for attention (PaLM, appendix B, without the causal half). The minutes of the whole law cover its
seven sizes until the published plateau ends, with an evaluation of both cohorts every 25 steps. bf16 experts are
compared with fp32 ones.
"""

import time
from typing import Any

import torch

from benchmarks.setting import Result, Row, Setting
from benchmarks.timing import Spread, clock
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.experiments.tasks.materials import Materials, pick_device, prepare
from moefacts.models.architecture import parameter_counts
from moefacts.models.moe import MixtureOfExperts
from moefacts.training.evaluators import cohort_evaluators
from moefacts.training.step import TrainingStep

MODELS = {"dense": "dense_44m", "moe": "moe_44m"}
UTILISATION_GOALS = {"dense": 0.40, "moe": 0.25}
RUN_STEPS, RUN_MINUTES_GOAL = 16_000, 5.0
LAW_STEPS, LAW_MINUTES_GOAL = 375 + 600 + 1110 + 2090 + 3085 + 6030 + 10855, 15.0  # study, section 4, figure 2
STEPS_A_ROUND = 10


def matrix_peak(device: torch.device, size: int, rounds: int) -> float:
    """The FLOP/s of the best of several square bf16 products."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(rounds + 3):
        started = clock()
        for _ in range(5):
            left @ right
        best = min(best, (clock() - started) / 5)
    return 2 * size**3 / best


def flops_per_token(config: RunConfig, vocab_size: int, length: int) -> float:
    """The floating point operations of training on one token, by the rule in the module's docstring."""
    model, counts = config.model, parameter_counts(config.model, vocab_size)
    norms = (2 * model.num_layers + 1) * model.d_model
    multiplying = counts.active - counts.embedding - norms + vocab_size * model.d_model
    return 6 * multiplying + 12 * model.num_layers * model.num_heads * model.d_head * length


def measure_training(config: RunConfig, materials: Materials, rounds: int, peak: float) -> Result:
    """Measure speed and memory of training steps as in the loop, where batches are assembled on the way."""
    device, batcher, size = materials.device, materials.batcher, config.training.batch_size
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    step = TrainingStep(config, materials.model, device)
    numbers = iter(range(10**9))
    tokens = positions = 0
    lengths = set()

    def take(steps: int) -> None:
        nonlocal tokens, positions
        for _ in range(steps):
            number = next(numbers)
            batch = batcher.training_batch(number, size)
            step(number, batch)
            tokens += batch.num_targets
            positions += batch.targets_BT.numel()
            lengths.add(batch.targets_BT.shape[1])

    take(STEPS_A_ROUND)
    clock()
    warmup = time.perf_counter() - started
    tokens = positions = 0
    seconds = []
    for _ in range(rounds):
        started = clock()
        take(STEPS_A_ROUND)
        seconds.append((clock() - started) / STEPS_A_ROUND)
    spread = Spread.of(seconds)
    tokens_a_step, positions_a_step = (amount / rounds / STEPS_A_ROUND for amount in (tokens, positions))
    flops = flops_per_token(config, materials.model.vocab_size, max(lengths)) / spread.median
    return {
        "step_ms": 1000 * spread.median,
        "step_low_ms": 1000 * spread.low,
        "step_high_ms": 1000 * spread.high,
        "tokens_per_second": tokens_a_step / spread.median,
        "utilisation": flops * tokens_a_step / peak,
        "utilisation_with_padding": flops * positions_a_step / peak,
        "run_minutes": RUN_STEPS * spread.median / 60,
        "warmup_seconds": warmup,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None,
    }


def evaluation_seconds(config: RunConfig, materials: Materials, step: TrainingStep) -> float:
    """The seconds of one evaluation of every cohort, after a first one that is not timed."""
    evaluators = cohort_evaluators(config, materials.batcher).values()
    materials.model.eval()
    seconds = 0.0
    for _ in range(2):
        started = clock()
        for evaluator in evaluators:
            evaluator.measure(materials.model, step.autocast())
        seconds = clock() - started
    materials.model.train()
    return seconds


@torch.no_grad()
def experts_error(config: RunConfig, device: torch.device) -> float:
    """The largest difference of a bf16 mixture layer from the same layer in fp32, over the largest output."""
    assert config.model.moe is not None
    torch.manual_seed(config.seed)
    layer = MixtureOfExperts(config.model.d_model, config.model.activation, config.model.moe).to(device)
    for parameter in layer.parameters():
        parameter.normal_(std=parameter.shape[-1] ** -0.5)
    x_ND = torch.randn(4096, config.model.d_model, device=device)
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        expected_ND, _ = layer(x_ND)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            found_ND, _ = layer(x_ND)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    return ((found_ND.float() - expected_ND).abs().max() / expected_ND.abs().max()).item()


def run(setting: Setting, matrix_size: int = 8192, compile_too: bool = True) -> Result:
    """Measure everything. This needs CUDA unless ``device=cpu`` is among the overrides.

    Raises:
        UserError: there is no CUDA device.
    """
    if "device=cpu" not in setting.overrides and not torch.cuda.is_available():
        raise UserError("the gpu benchmark needs a CUDA device, and there is none here")
    device = pick_device(setting.config().device)
    result: Result = {"matrix_peak_tflops": (peak := matrix_peak(device, matrix_size, setting.rounds)) / 1e12}
    for name, preset in MODELS.items():
        measured: dict[str, Any] = {}
        for kind in ("eager", "compiled") if compile_too else ("eager",):
            config = setting.config("scale=paper", f"model={preset}", f"training.compile={kind == 'compiled'}")
            materials = prepare(config)
            measured[kind] = measure_training(config, materials, setting.rounds, peak)
        measured["evaluation_seconds"] = evaluation_seconds(
            config, materials, TrainingStep(config, materials.model, device)
        )
        best = min((measured[kind] for kind in measured if kind in ("eager", "compiled")), key=lambda m: m["step_ms"])
        evaluations = LAW_STEPS / config.evaluation.interval * measured["evaluation_seconds"]
        measured |= {"best": best, "law_minutes": (LAW_STEPS * best["step_ms"] / 1000 + evaluations) / 60}
        result[name] = measured
    result["bf16_experts_relative_error"] = experts_error(config, device)
    return result


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""
    table = [Row("bf16 matrix peak, TFLOP/s", f"{result['matrix_peak_tflops']:.0f}")]
    for name, goal in UTILISATION_GOALS.items():
        measured = result[name]
        best, law = measured["best"], measured["law_minutes"]
        label = f"{name} 44M {' / '.join(_kinds(measured))}"
        table += [
            Row(f"{label}: tokens/s", _each(measured, "tokens_per_second", ",.0f")),
            Row(f"{label}: ms per step", _each(measured, "step_ms", ".1f")),
            Row(
                f"{name} 44M: share of the peak",
                f"{best['utilisation']:.1%}",
                f"≥ {goal:.0%}",
                best["utilisation"] >= goal,
            ),
            Row(
                f"{name} 44M: minutes for 16k steps",
                f"{best['run_minutes']:.1f}",
                f"< {RUN_MINUTES_GOAL:.0f}",
                best["run_minutes"] < RUN_MINUTES_GOAL,
            ),
            Row(
                f"{name} 44M: minutes for the law, 7 sizes",
                f"{law:.1f}",
                f"< {LAW_MINUTES_GOAL:.0f}",
                law < LAW_MINUTES_GOAL,
            ),
        ]
        if best["peak_memory_gib"] is not None:
            table.append(Row(f"{label}: GiB at the peak", _each(measured, "peak_memory_gib", ".1f")))
    table.append(Row("bf16 experts: largest error over largest output", f"{result['bf16_experts_relative_error']:.1e}"))
    return table


def _kinds(measured: Result) -> list[str]:
    return [kind for kind in ("eager", "compiled") if kind in measured]


def _each(measured: Result, key: str, form: str) -> str:
    return " / ".join(format(measured[kind][key], form) for kind in _kinds(measured))
