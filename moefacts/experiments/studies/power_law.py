"""Figures 4, left and middle, and G: which α in P(i) ∝ i^(−α) gives the shortest plateau, and which the lowest loss."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from moefacts.analysis.comparison import paired_difference
from moefacts.analysis.comparison_figures import Series, compare_over
from moefacts.analysis.plateau_end import NOT_REACHED, REACHED
from moefacts.analysis.summary import estimate, format_number
from moefacts.analysis.table import Table
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS, Claim, Verdict, below, cannot_tell
from moefacts.experiments.studies._arms import END, EVALUATION, Arms, arm_runs, sampling
from moefacts.experiments.studies._paired import decide_paired, log_ratio
from moefacts.experiments.studies._units import PLATEAU_RATIO
from moefacts.runs import keys
from moefacts.runs.thresholds import PLATEAU_FLOOR

MILD = (0.6, 0.8)  # the exponents with the shortest plateaus in the study
SIZES_NEEDED = 2  # fewer sizes cannot show that something holds at every size
MARGIN = 0.05  # mean plateau ends, or losses, that differ by less than this count as equal
_EXPONENTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# Size -> budgets in steps. With a constant learning rate, a long run contains the shorter ones.
_LAPTOP_BUDGETS = {1024: (500, 1000), 2048: (1000, 1500)}
_PAPER_SIZES, _PAPER_BUDGETS, _PAPER_PLATEAU = (64000, 128000, 256000), (8000, 16000, 32000), 16000


def _runs(scale: str, size: int, budgets: tuple[int, ...], seeds: int, ends: bool) -> list[GridRun]:
    arms = {f"{exponent}": sampling("power_law", exponent=exponent) for exponent in _EXPONENTS}
    runs = arm_runs(scale, arms, size, seeds, f"training.steps={budgets[-1]}", *EVALUATION[scale])
    return [
        GridRun(r.overrides, labels={**r.labels, "exponent": float(r.labels["arm"]), "budgets": budgets, "ends": ends})
        for r in runs
    ]


_GRIDS = {
    "laptop": [run for size, budgets in _LAPTOP_BUDGETS.items() for run in _runs("laptop", size, budgets, 4, True)],
    "paper": [
        run
        for budget in _PAPER_BUDGETS
        for size in _PAPER_SIZES
        for run in _runs("paper", size, (budget,), 1, budget == _PAPER_PLATEAU)
    ],
}


class Evidence:
    """Plateau ends and losses by size, exponent, and budget."""

    def __init__(self, runs: Sequence[FinishedRun]):
        self.runs = runs
        self.ends = Arms([run for run in runs if run.labels["ends"]])  # runs of one length only
        self.sizes = Arms(runs).sizes
        self.exponents = sorted({run.labels["exponent"] for run in runs})
        self.budgets = sorted({budget for run in runs for budget in run.labels["budgets"]})

    def plateau_ends(self, size: int, exponent: float) -> list[float | None]:
        """The plateau ends of all seeds; None where the end was not reached or cannot be determined."""
        return list(self.ends.values(END, f"{exponent}", size).values())

    def end_bounds(self, size: int, exponent: float) -> tuple[float, float] | None:
        """The least and the largest mean plateau end over seeds; None without a run.

        An end that was not reached is the last step or later; one that cannot be determined may be anywhere.
        """
        bounds = [_end_bounds(run) for run in self.ends.members(f"{exponent}", size)]
        return (float(np.mean([b[0] for b in bounds])), float(np.mean([b[1] for b in bounds]))) if bounds else None

    def losses(self, size: int, exponent: float, budget: int) -> list[float | None]:
        """The attribute losses of all seeds after ``budget`` steps, in nats."""
        wanted = (size, exponent)
        return [
            loss_at(run, budget)
            for run in self.runs
            if (run.labels["size"], run.labels["exponent"]) == wanted and budget in run.labels["budgets"]
        ]

    def mean_losses(self, size: int, budget: int) -> list[float] | None:
        """The mean loss of every exponent; None unless all have one and the lowest has left its plateau."""
        means = [estimate(self.losses(size, exponent, budget)) for exponent in self.exponents]
        known = [mean.mean for mean in means if mean is not None]
        has_left = len(known) == len(means) > 1 and min(known) < PLATEAU_FLOOR * self.runs[0].record.baseline
        return known if has_left else None

    def best_by_loss(self, size: int, budget: int) -> float | None:
        """The exponent with the lowest mean loss; None where ``mean_losses`` is."""
        losses = self.mean_losses(size, budget)
        return None if losses is None else self.exponents[int(np.argmin(losses))]

    def good_by_loss(self, size: int, budget: int) -> tuple[float, float] | None:
        """The smallest and the largest exponent whose mean loss is within ``MARGIN`` of the lowest."""
        losses = self.mean_losses(size, budget)
        if losses is None:
            return None
        good = [a for a, loss in zip(self.exponents, losses, strict=True) if loss <= (1 + MARGIN) * min(losses)]
        return good[0], good[-1]


def loss_at(run: FinishedRun, step: int) -> float:
    """Attribute loss at ``step``, interpolated between evaluations."""
    loss = run.record.curve(keys.ATTRIBUTE_LOSS)
    return float(np.interp(step, loss.index, loss))


def _end_bounds(run: FinishedRun) -> tuple[float, float]:
    status, end = run.measures["plateau_end_status"], run.measures["plateau_end_interpolated"]
    if status == REACHED:
        return end, end
    return (run.measures["last_step"] if status == NOT_REACHED else 0.0), np.inf


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Find the plateau ends and losses of every exponent, and the best exponent at every size and budget."""
    evidence = Evidence(runs)
    rows = []
    for size in evidence.sizes:
        for exponent in evidence.exponents:
            ends = [None if end is None else round(end) for end in evidence.plateau_ends(size, exponent)]
            losses = [estimate(evidence.losses(size, exponent, budget)) for budget in evidence.budgets]
            shown = ["–" if loss is None else loss.text() for loss in losses]
            rows.append([f"{size:,}", f"{exponent:g}", ", ".join(map(format_number, ends)), *shown])
    columns = ["people", "α", "plateau end, each seed (steps)", *(f"loss after {b:,} steps" for b in evidence.budgets)]
    note = "Attribute loss over all people, in nats. At laptop scale, losses at shorter budgets come from longer runs."
    values = {
        "best_exponent": [
            {"size": size, "steps": budget, "exponent": evidence.best_by_loss(size, budget)}
            for size in evidence.sizes
            for budget in evidence.budgets
        ]
    }
    figures = {"exponents": ("The plateau's end and the loss against α.", partial(_figure, evidence))}
    return Findings(values, [Table("Uneven distributions", columns, rows, note)], figures, evidence)


def _figure(evidence: Evidence):
    def lines(of: Callable[..., list[float | None]], *budget: int) -> list[Series]:
        return [Series(f"{n:,} people", {a: of(n, a, *budget) for a in evidence.exponents}) for n in evidence.sizes]

    panels = {"plateau end (steps)": lines(evidence.plateau_ends)}
    for budget in evidence.budgets:
        panels[f"loss after {budget:,} steps (nats)"] = lines(evidence.losses, budget)
    return compare_over({"": panels}, "exponent α", logarithmic=False)


def _shortens(evidence: Evidence) -> Verdict:
    uniform = evidence.ends.bounds(END, "0.0")
    mild = [evidence.ends.bounds(END, f"{exponent}") for exponent in MILD]
    both = {}
    for key in mild[0].keys() & mild[1].keys():
        first, second = mild[0][key], mild[1][key]
        assert first is not None
        assert second is not None
        both[key] = ((first[0] * second[0]) ** 0.5, (first[1] * second[1]) ** 0.5)
    return decide_paired(paired_difference(both, uniform, log_ratio), partial(below, bound=0.0))


def _shortest_when_mild(evidence: Evidence) -> Verdict:
    """Decide from bounds on the plateau end of the best mild exponent over that of the best other one."""
    ratios = {}
    for size in evidence.sizes:
        bounds = {a: found for a in evidence.exponents if (found := evidence.end_bounds(size, a)) is not None}
        if {*MILD, 0.0} <= bounds.keys():
            mild, other = (
                np.min([found for a, found in bounds.items() if (a in MILD) == is_mild], axis=0)
                for is_mild in (True, False)
            )
            ratios[size] = (float(mild[0] / other[1]), float(mild[1] / other[0]) if other[0] else np.inf)
    text = ", ".join(f"{size:,}: {_between(*ratio)}" for size, ratio in ratios.items())
    if len(ratios) < SIZES_NEEDED:
        return cannot_tell(f"fewer than {SIZES_NEEDED} sizes have these ends: {text or 'none'}")
    if all(high < 1 - MARGIN for _, high in ratios.values()):
        return Verdict(HOLDS, text)
    return Verdict(DOES_NOT_HOLD, text) if any(low > 1 + MARGIN for low, _ in ratios.values()) else cannot_tell(text)


def _between(low: float, high: float) -> str:
    if low == high:
        return f"×{low:.2f}"
    return f"×{low:.2f} or more" if np.isinf(high) else f"×{low:.2f} to ×{high:.2f}"


def _falls_with_steps(evidence: Evidence) -> Verdict:
    chains = {
        f"{size:,} people": [(budget, evidence.good_by_loss(size, budget)) for budget in evidence.budgets]
        for size in evidence.sizes
    }
    return _monotone(chains, -1)


def _grows_with_people(evidence: Evidence) -> Verdict:
    chains = {
        f"{budget:,} steps": [(size, evidence.good_by_loss(size, budget)) for size in evidence.sizes]
        for budget in evidence.budgets
    }
    return _monotone(chains, 1)


def _monotone(chains: dict[str, list[tuple[int, tuple[float, float] | None]]], sign: int) -> Verdict:
    """Decide from the smallest and the largest good exponent at every budget or size of every chain."""
    known = {name: [(at, good) for at, good in chain if good is not None] for name, chain in chains.items()}
    known = {name: chain for name, chain in known.items() if len(chain) > 1}
    if not known:
        return cannot_tell("there are no two budgets or sizes at which some α has left its plateau")
    text = "; ".join(
        f"{name}: " + ", ".join(f"{at:,} → " + "–".join(f"{a:g}" for a in sorted(set(good))) for at, good in chain)
        for name, chain in known.items()
    )
    pairs = [(one, two) for chain in known.values() for (_, one), (_, two) in pairwise(chain)]
    rises = any(two[0] > one[1] for one, two in pairs)
    falls = any(two[1] < one[0] for one, two in pairs)
    right, wrong = (rises, falls) if sign > 0 else (falls, rises)
    if wrong:
        return Verdict(DOES_NOT_HOLD, text)
    return Verdict(HOLDS, text) if right else cannot_tell(f"{text} (the grid is too coarse)")


_DIRECTION = (
    f"Every α in the grid with a mean loss over seeds within {MARGIN:.0%} of the lowest counts as best. The best α "
    "rises or falls where its range does not overlap with the one before. Holds if it never {wrong} {along} and "
    "{right} at least once; does not hold if it {wrong} anywhere; cannot tell otherwise. A size and budget at which no "
    f"α has a mean loss below {PLATEAU_FLOOR} of the baseline is left out."
)
_MILD = " and ".join(f"{exponent}" for exponent in MILD)
_BEST = "64k .6/.4/.2, 128k .8/.6/.4, 256k .8/.8/.6 after 8k/16k/32k steps"
_CLAIMS = (
    Claim(
        "A mild unevenness shortens the plateau",
        "×0.65 at 64k (1,987 and 2,049 steps against 3,078)",
        f"Log ratio of plateau ends, geometric mean of α = {_MILD} to α = 0, averaged over pairs of equal size and "
        "seed. Holds if its 95% interval lies below 0; does not hold if it lies above; cannot tell otherwise.",
        _shortens,
        unit=PLATEAU_RATIO,
    ),
    Claim(
        f"The plateau is shortest at α {MILD[0]}–{MILD[-1]}, whatever the number of people",
        "α 0.6–0.8 at every size; 64k, α = 0…1: 3078, 3078, 2483, 1987, 2049, 3078",
        f"The earliest mean plateau end over seeds, of α {_MILD} against the other α. Holds if it is more than "
        f"{MARGIN:.0%} earlier at every size; does not hold if it is more than {MARGIN:.0%} later at some size; cannot "
        f"tell otherwise or with fewer than {SIZES_NEEDED} sizes. An end that was not reached may be anywhere from the "
        "last step on.",
        _shortest_when_mild,
    ),
    Claim(
        "The α that minimises the loss falls with more steps",
        _BEST,
        _DIRECTION.format(wrong="rises", along="from a budget to the next longer one", right="falls"),
        _falls_with_steps,
    ),
    Claim(
        "The α that minimises the loss grows with the number of people",
        _BEST,
        _DIRECTION.format(wrong="falls", along="from a size to the next larger one at equal steps", right="rises"),
        _grows_with_people,
    ),
)

STUDY = Study(
    name="power-law",
    title="How unevenly must people be shown for the shortest plateau, and for the lowest final loss?",
    figure="Figures 4, left and middle, and G",
    grids=_GRIDS,
    claims=dict.fromkeys(_GRIDS, _CLAIMS),
    examine=examine,
)
