"""The learning rate of every kind of model, chosen as the study chooses its own: by the lowest final training loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from moefacts.analysis.comparison_figures import Series, compare_over
from moefacts.analysis.table import Table
from moefacts.experiments.engine.study import USUAL_SCALES, Findings, FinishedRun, Study
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS, Claim, Verdict, cannot_tell
from moefacts.experiments.studies._trained import what_is_open
from moefacts.experiments.studies.dense_vs_moe.comparison import NAMES
from moefacts.experiments.studies.dense_vs_moe.grids import RATES, rate_grid

Losses = dict[str, dict[float, float]]  # kind -> learning rate -> final training loss in nats per token


@dataclass(frozen=True)
class Evidence:
    """The final training losses, and the kinds of which no run had left its plateau when it stopped."""

    losses: Losses
    early: Sequence[str] = ()


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Find the best rate of every kind."""
    losses: Losses = {}
    for run in runs:
        losses.setdefault(run.labels["kind"], {})[run.labels["learning_rate"]] = run.record.final_training_loss
    left = {run.labels["kind"] for run in runs if not what_is_open(run)}
    evidence = Evidence(losses, [kind for kind in losses if kind not in left])
    rates = sorted({rate for one in losses.values() for rate in one})
    rows = [
        [NAMES[kind], f"{best_rate(one):g}", *(f"{one[rate]:.4f}" if rate in one else "–" for rate in rates)]
        for kind, one in losses.items()
    ]
    note = "Final training loss in nats per token, the mean of the last twentieth of the records. One seed."
    table = Table("Learning rates", ["model", "best rate", *(f"{rate:g}" for rate in rates)], rows, note)
    caption = "Final training loss of every kind of model against its learning rate. One seed."
    values = {"best_rate": {kind: best_rate(one) for kind, one in losses.items()}}
    return Findings(values, [table], {"rates": (caption, partial(_figure, losses))}, evidence)


def best_rate(losses: dict[float, float]) -> float:
    """The rate with the lowest loss."""
    return min(losses, key=lambda rate: losses[rate])


def _figure(losses: Losses):
    lines = [Series(NAMES[kind], {rate: [loss] for rate, loss in one.items()}) for kind, one in losses.items()]
    return compare_over({"": {"training loss (nats per token)": lines}}, "learning rate")


def _is_inside(scale: str, evidence: Evidence) -> Verdict:
    losses = evidence.losses
    tried = [float(rate) for rate in RATES[scale]]
    missing = [NAMES[kind] for kind in NAMES if set(losses.get(kind, {})) != set(tried)]
    if missing:
        return cannot_tell(f"not all rates were tried with {'; '.join(missing)}")
    if evidence.early:
        return cannot_tell(f"all runs stopped on their plateaus of {'; '.join(NAMES[kind] for kind in evidence.early)}")
    at_edge = [NAMES[kind] for kind, one in losses.items() if best_rate(one) in (min(tried), max(tried))]
    if not at_edge:
        return Verdict(HOLDS, f"for all {len(losses)} kinds")
    return Verdict(DOES_NOT_HOLD, f"at an edge for {'; '.join(at_edge)}")


def _claim(scale: str) -> Claim:
    return Claim(
        "Every kind's best learning rate lies inside those that were tried",
        "none published",
        "Holds if, for every kind of model, the rate of the lowest final training loss is neither the smallest nor the "
        "largest that was tried; does not hold if it is for some kind; cannot tell if runs are missing, or "
        "if all runs of some kind stopped before their plateau ended.",
        partial(_is_inside, scale),
    )


STUDY = Study(
    name="dense-vs-moe-lr",
    former_name="dense_vs_moe-lr",
    title="Which learning rate suits each kind of model?",
    figure="not in the paper",
    grids={scale: rate_grid(scale) for scale in USUAL_SCALES},
    claims={scale: (_claim(scale),) for scale in USUAL_SCALES},
    examine=examine,
)
