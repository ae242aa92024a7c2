"""The cost of the study's whole grid on one H100, computed from sizes and not measured.

    python -m benchmarks.cost [--sample 20]

This prints tokens per biography (counted in batches of scale=paper), FLOPs per token of each model, and hours per
figure.

A forward pass takes 2 (P - V D) + 2 L H K T FLOPs per token in the layers and 2 V D in the head. P are the active
parameters, of which V D are the (tied) embedding. There are L layers with H heads of width K. T is the mean length: a
causal token attends to T / 2 others, in two products. The backward pass costs twice the forward pass. Evaluation is a
forward pass with the head on value tokens only. Padding is not counted; it lowers the utilisation.
"""

import argparse
from dataclasses import dataclass

import torch

from moefacts.config.presets import compose
from moefacts.config.schema import RunConfig
from moefacts.models.architecture import parameter_counts
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.tokenizer import build_tokenizer

PEAK = 989e12  # FLOP/s of an H100 SXM in bf16 without sparsity, by its data sheet
UTILISATIONS = (0.2, 0.4)
COHORTS = 2  # seen and unseen people are evaluated
PRETRAINED, FINE_TUNED = 16_000, 4_000  # steps; the study does not say how long it fine-tunes: 4,000 is assumed


@dataclass(frozen=True)
class Row:
    """Runs of one figure with equal cost; ``forwards`` is the number of forward passes per step (2 if patched)."""

    figure: str
    what: str
    runs: int
    people: int = 64_000
    steps: int = PRETRAINED
    model: str = "dense_44m"
    forwards: int = 1


MIXTURES = ("moe_44m", "moe_44m_switch", "moe_44m_total", "moe_44m_switch_total")
SIZES = (4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000)
# Where the study and its figures leave the number of runs open, ``what`` gives the assumption.
GRID = [
    *(Row("2", "seven sizes × 5 seeds", 5, people) for people in SIZES),
    Row("2", "learning rates {1, 2, 8, 16}e-4 at N = 64k, 1 seed", 4),
    Row("A", "templates 1, 2, 4, 8, 16 × shuffled or not", 10),
    Row("C", "weight decay (4 values), batch size (4 values, equal tokens)", 8),
    Row("C", "recurrent mixer, counted as dense 44M", 1),
    Row("C", "163M", 1, model="dense_163m"),
    Row("C", "400M", 1, model="dense_400m"),
    Row("3, D", "attention patching: 7 references × 2 starts", 14, forwards=2),
    *(Row("4 left", "α = 0.2 … 1 × seven sizes (α = 0 is Figure 2)", 5, people) for people in SIZES),
    *(
        Row("4 middle", "6 α × {8, 32}k steps × {64, 128, 256}k", 6, people, steps)
        for people in SIZES[-3:]
        for steps in (8_000, 32_000)
    ),
    *(Row("4 right, H-L", "celebrities and warm-up, 8 settings each × 3 sizes", 16, people) for people in SIZES[-3:]),
    Row("5 middle, right", "fine-tuning: 5 sizes, 7 replay weights", 12, steps=FINE_TUNED),
    Row("P", "celebrities at 128k, then fine-tuning", 1, 128_000, PRETRAINED + FINE_TUNED),
    Row("S-X", "sequential groups (4), alternating groups (3)", 7),
    *(
        Row("dense-vs-moe", "dense and 4 mixtures × {16, 64}k × 3 seeds", 3, people, model=model)
        for people in (16_000, 64_000)
        for model in ("dense_44m", *MIXTURES)
    ),
    *(Row("dense-vs-moe", "4 mixtures without balancing, 3 seeds", 3, 16_000, model=model) for model in MIXTURES),
    Row("dense-vs-moe", "8 experts under every balancing alone", 6, 16_000, model="moe_44m"),
]


@dataclass(frozen=True)
class Lengths:
    """Mean tokens per biography: targets, positions with padding, and tokens of attribute values."""

    targets: float
    positions: float
    values: float
    vocabulary: int


def count_tokens(config: RunConfig, num_batches: int) -> Lengths:
    """Assemble training batches on the CPU and count their tokens."""
    population = build_population(config.population, config.seed)
    tokenizer = build_tokenizer(config.tokenizer, population.pools, population.templates)
    batcher = Batcher(population, tokenizer, torch.device("cpu"))
    batches = [batcher.training_batch(step, config.training.batch_size) for step in range(num_batches)]
    num_biographies = num_batches * config.training.batch_size
    return Lengths(
        sum(batch.num_targets for batch in batches) / num_biographies,
        sum(batch.targets_BT.numel() for batch in batches) / num_biographies,
        sum(int((batch.attribute_BT >= 0).sum()) for batch in batches) / num_biographies,
        tokenizer.vocab_size,
    )


def forward_flops(model: str, lengths: Lengths) -> tuple[float, float]:
    """FLOPs per token of a forward pass, in the layers and in the head."""
    config = compose(["scale=paper", f"model={model}"]).model
    counts = parameter_counts(config, lengths.vocabulary)
    attention = 2 * config.num_layers * config.num_heads * config.d_head * lengths.targets
    head = 2 * lengths.vocabulary * config.d_model
    return 2 * (counts.active - counts.embedding) + attention, head


def num_evaluations(row: Row, config: RunConfig) -> float:
    """The number of evaluations: every ``interval`` until the published law's plateau end, then more rarely."""
    plateau_end = min(0.43 * row.people**0.81, row.steps)
    evaluation = config.evaluation
    return plateau_end / evaluation.interval + (row.steps - plateau_end) / evaluation.interval_after_plateau


def flops_of(row: Row, lengths: Lengths, config: RunConfig) -> tuple[float, float]:
    """FLOPs of all runs of ``row``, for training and for evaluation."""
    layers, head = forward_flops(row.model, lengths)
    biographies = row.steps * config.training.batch_size
    training = (2 + row.forwards) * (layers + head) * lengths.targets * biographies
    evaluated = num_evaluations(row, config) * config.evaluation.biographies * COHORTS
    return row.runs * training, row.runs * evaluated * (layers * lengths.targets + head * lengths.values)


def main() -> None:
    """Count tokens, compute FLOPs and hours, and print them as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=20, help="batches in which tokens are counted")
    options = parser.parse_args()
    config = compose(["scale=paper"])
    lengths = count_tokens(config, options.sample)
    run_biographies = config.training.steps * config.training.batch_size
    print(
        f"A biography has {lengths.targets:.1f} target tokens ({lengths.positions:.1f} with padding), "
        f"{lengths.values:.1f} of them in attribute values.\nA run of {config.training.steps:,} steps sees "
        f"{run_biographies:,} biographies, or {run_biographies * lengths.targets / 1e6:,.0f}M tokens.\n"
    )
    print("| model | MFLOPs per token, forward: layers | head | training |\n|---|---|---|---|")
    for model in dict.fromkeys(row.model for row in GRID):
        layers, head = forward_flops(model, lengths)
        print(f"| {model} | {layers / 1e6:.1f} | {head / 1e6:.1f} | {3 * (layers + head) / 1e6:.1f} |")
    columns = [f"hours at {100 * share:.0f}%" for share in UTILISATIONS]
    print(f"\n| figure | runs | what | training EFLOPs | evaluation EFLOPs | {' | '.join(columns)} |")
    print("|---" * (5 + len(columns)) + "|")
    totals = [0, 0.0, 0.0]
    for figure, what in dict.fromkeys((row.figure, row.what) for row in GRID):
        rows = [row for row in GRID if (row.figure, row.what) == (figure, what)]
        costs = [flops_of(row, lengths, config) for row in rows]
        entry = (sum(row.runs for row in rows), sum(cost[0] for cost in costs), sum(cost[1] for cost in costs))
        totals = [old + new for old, new in zip(totals, entry, strict=True)]
        _print_row(figure, what, *entry)
    _print_row("all", "", *totals)


def _print_row(figure: str, what: str, runs: float, training: float, evaluation: float) -> None:
    hours = [f"{(training + evaluation) / (PEAK * share) / 3600:.1f}" for share in UTILISATIONS]
    print(f"| {figure} | {runs} | {what} | {training / 1e18:.1f} | {evaluation / 1e18:.1f} | {' | '.join(hours)} |")


if __name__ == "__main__":
    main()
