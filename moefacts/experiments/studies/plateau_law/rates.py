"""The learning rate of every population size, chosen as in the study: by the lowest final training loss."""

from collections.abc import Sequence

from moefacts.analysis.table import Table
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.studies.plateau_law.grids import CHOICE

Losses = dict[int, dict[float, float]]  # size -> learning rate -> final training loss in nats per token


def losses_by_rate(runs: Sequence[FinishedRun]) -> Losses:
    """The final training losses of the runs that choose, in ascending order of sizes and rates."""
    losses: Losses = {}
    for run in runs:
        if run.labels.get("part") == CHOICE:
            losses.setdefault(run.labels["size"], {})[run.labels["learning_rate"]] = run.record.final_training_loss
    return {size: dict(sorted(by_rate.items())) for size, by_rate in sorted(losses.items())}


def chosen_rates(losses: Losses) -> dict[int, float]:
    """The rate with the lowest loss, the smallest of equal ones, at every size at which all rates were tried."""
    tried = {rate for by_rate in losses.values() for rate in by_rate}
    return {size: min(by_rate, key=by_rate.__getitem__) for size, by_rate in losses.items() if by_rate.keys() == tried}


def rates_table(losses: Losses) -> Table:
    """The losses of every size and rate, and which rate was chosen."""
    rates, chosen = sorted({rate for by_rate in losses.values() for rate in by_rate}), chosen_rates(losses)
    rows = [
        [
            f"{size:,}",
            *(f"{by_rate[rate]:.4f}" if rate in by_rate else "–" for rate in rates),
            _choice(chosen.get(size), rates),
        ]
        for size, by_rate in losses.items()
    ]
    columns = ["people", *(f"{rate:g}" for rate in rates), "chosen"]
    note = (
        "In nats per token, the mean of the last twentieth of the records of one run, whose seed no run of the law "
        "has. At each size, the rate with the lowest loss is chosen. At an edge of those tried, a better one may lie "
        "beyond."
    )
    return Table("Final training loss by learning rate", columns, rows, note)


def _choice(rate: float | None, rates: Sequence[float]) -> str:
    if rate is None:
        return "–"
    return f"{rate:g}" + (" (at the edge)" if rate in (rates[0], rates[-1]) else "")
