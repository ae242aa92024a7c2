"""Helpers for studies that compare arms: ways of training with equal population size, seed, steps and thus tokens."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from moefacts.analysis.comparison import Bounds, Paired, paired_difference
from moefacts.analysis.comparison_figures import Series, compare_over
from moefacts.analysis.figures import attribute_loss
from moefacts.analysis.groups import Group
from moefacts.analysis.summary import cell, estimate
from moefacts.analysis.table import Table
from moefacts.analysis.unit import PLAIN
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun
from moefacts.experiments.engine.verdict import Claim, Verdict, above, below
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies._paired import bounds_of, decide_paired, log_ratio, value_of
from moefacts.experiments.studies._units import ACCURACY_POINTS, LOSS_NATS, PLATEAU_RATIO, RATIOS
from moefacts.experiments.studies._unseen import UNSEEN_RARELY
from moefacts.runs.reader import Run

LOSS, ACCURACY, END = "final_attribute_loss", "final_attribute_accuracy", "plateau_end_interpolated"
MEASURES = {LOSS: "final attribute loss (nats)", ACCURACY: "final accuracy", END: "plateau end (steps)"}
_UNITS = {LOSS: LOSS_NATS, ACCURACY: ACCURACY_POINTS, END: PLATEAU_RATIO}
UNIFORM = "uniform"
# How often the arms of a scale are evaluated.
EVALUATION = {
    "laptop": ("evaluation.interval=50", "evaluation.interval_after_plateau=100", UNSEEN_RARELY),
    "paper": (UNSEEN_RARELY,),
}
# The training settings that all arms of a scale share.
_TRAINING = {"laptop": laptop.SETTINGS, "paper": ()}
Arm = str | tuple[str, ...]


def sampling(kind: str, **settings: float) -> tuple[str, ...]:
    """The overrides that select a distribution of people, as in ``sampling("power_law", exponent=1)``."""
    return (f"sampling.kind={kind}", *(f"sampling.{key}={value}" for key, value in settings.items()))


def arm_runs(
    scale: str,
    arms: Mapping[str, Iterable[str]],
    size: int,
    seeds: int,
    *common: str,
    needs: Mapping[str, str] | None = None,
    settings_from: Mapping[str, Callable[[Sequence[Run]], tuple[str, ...]]] | None = None,
) -> list[GridRun]:
    """The runs of every arm at one population size, one per seed.

    Args:
        scale: laptop or paper.
        arms: name -> overrides.
        size: the population size.
        seeds: the number of seeds, which all arms share.
        common: overrides of all arms.
        needs: arm -> the arm whose run of the same seed must be finished first.
        settings_from: arm -> what makes further overrides from that run (``GridRun.settings_from``).
    """
    common = (*_TRAINING[scale], *common)

    def run(arm: str, seed: int) -> GridRun:
        overrides = (f"population.size={size}", *arms[arm], *common, f"seed={seed}")
        first = (needs or {}).get(arm)
        needed = (run(first, seed),) if first else ()
        return GridRun(overrides, None, {"arm": arm, "size": size}, needed, (settings_from or {}).get(arm))

    return [run(arm, seed) for arm in arms for seed in seeds_for(size, seeds)]


@dataclass(frozen=True)
class Arms:
    """Finished runs, by arm and population size."""

    runs: Sequence[FinishedRun]

    @property
    def names(self) -> list[str]:
        """The arms, in the order of the grid."""
        return list(dict.fromkeys(run.labels["arm"] for run in self.runs))

    @property
    def sizes(self) -> list[int]:
        """The population sizes, ascending."""
        return sorted({run.labels["size"] for run in self.runs})

    def members(self, arm: str, size: int | None = None) -> list[FinishedRun]:
        """The runs of one arm, at one size or at all sizes."""
        return [run for run in self.runs if run.labels["arm"] == arm and size in (None, run.labels["size"])]

    def values(self, measure: str, arm: Arm, size: int | None = None) -> dict[tuple[int, int], float | None]:
        """(size, seed) -> a measure. Of several arms, the one with the lowest mean final loss counts at each size."""
        return {key: value_of(run, measure) for key, run in self._runs_of(arm, size).items()}

    def bounds(self, measure: str, arm: Arm, size: int | None = None) -> dict[tuple[int, int], Bounds | None]:
        """The same, with bounds for an event that was not reached or that cannot be determined."""
        return {key: bounds_of(run, measure) for key, run in self._runs_of(arm, size).items()}

    def _runs_of(self, arm: Arm, size: int | None) -> dict[tuple[int, int], FinishedRun]:
        names = [arm] * len(self.sizes) if isinstance(arm, str) else [self.best(arm, one) for one in self.sizes]
        return {
            (run.labels["size"], run.seed): run
            for name, at in zip(names, self.sizes, strict=True)
            if name is not None and size in (None, at)
            for run in self.members(name, at)
        }

    def best(self, arms: Sequence[str], size: int) -> str | None:
        """The arm with the lowest mean final loss at ``size``; None if none of ``arms`` has a run there."""
        means = {arm: estimate(list(self.values(LOSS, arm, size).values())) for arm in arms}
        known = {arm: mean.mean for arm, mean in means.items() if mean is not None}
        return min(known, key=lambda arm: known[arm]) if known else None

    def difference(self, measure: str, ours: Arm, theirs: Arm, size: int | None = None) -> Paired | None:
        """The mean paired difference, ours minus theirs; for plateau ends, the mean log ratio of ours to theirs."""
        pair = (self.bounds(measure, ours, size), self.bounds(measure, theirs, size))
        return paired_difference(*pair, log_ratio) if measure == END else paired_difference(*pair)


def arm_findings(
    runs: Sequence[FinishedRun], reference: str, title: str, note: str = "", values: dict[str, Any] | None = None
) -> Findings:
    """The means of every arm, its paired difference from ``reference``, and figures of each size and of all sizes."""
    arms = Arms(runs)
    rows, differences, found = [], [], []
    for size in arms.sizes:
        for arm in arms.names:
            if not (members := arms.members(arm, size)):
                continue
            means = {key: estimate(list(arms.values(key, arm, size).values())) for key in MEASURES}
            rows.append([f"{size:,}", arm, str(len(members)), *(cell(key, mean) for key, mean in means.items())])
            paired = {key: arms.difference(key, arm, reference, size) for key in MEASURES}
            found.append({"size": size, "arm": arm, "against_reference": {k: p and vars(p) for k, p in paired.items()}})
            if arm != reference:
                differences.append([f"{size:,}", arm, *(difference_text(pair, key) for key, pair in paired.items())])
    tables = [Table(title, ["people", "arm", "runs", *MEASURES.values()], rows, note)]
    about = (
        "Means over pairs of runs of equal size and seed, with 95% intervals. Of plateau ends it is the ratio: ×0.9 is "
        "10% earlier."
    )
    tables.append(Table(f"Difference from “{reference}”", ["people", "arm", *MEASURES.values()], differences, about))
    figures = {}
    for size in arms.sizes:
        groups = [
            Group(arm, [run.record for run in members]) for arm in arms.names if (members := arms.members(arm, size))
        ]
        caption = f"{title}: attribute loss over all {size:,} people in held-out templates."
        figures[f"loss_{size}"] = (caption, partial(attribute_loss, groups))
    if len(arms.sizes) > 1:
        caption = f"{title}, by population size. Dots are single seeds; bars are 95% intervals."
        figures["over_sizes"] = (caption, partial(_over_sizes, arms))
    return Findings({"reference": reference, "arms": found} | (values or {}), tables, figures, arms)


def difference_text(pair: Paired | None, measure: str) -> str:
    """A paired difference as a table cell: of plateau ends the ratio, of others the difference."""
    return "–" if pair is None else pair.text(RATIOS if measure == END else PLAIN)


def _over_sizes(arms: Arms):
    def values(key: str, arm: str) -> dict[int, list[float | None]]:
        return {size: list(arms.values(key, arm, size).values()) for size in arms.sizes}

    return compare_over(
        {"": {label: [Series(arm, values(key, arm)) for arm in arms.names] for key, label in MEASURES.items()}}
    )


def difference_claim(text: str, published: str, measure: str, ours: Arm, theirs: Arm, sign: int = -1) -> Claim:
    """The claim, with its rule, that a measure of ``ours`` is lower (``sign`` −1) or higher (1) than for ``theirs``."""
    if measure == END:
        what = f"Log ratio of plateau ends, {_name(ours)} to {_name(theirs)}"
    else:
        what = f"Difference in {MEASURES[measure]}, {_name(ours)} minus {_name(theirs)}"
    side, other = ("below", "above") if sign < 0 else ("above", "below")
    rule = (
        f"{what}, averaged over pairs of equal size and seed. Holds if its 95% interval lies {side} 0; does not hold "
        f"if it lies {other}; cannot tell otherwise."
    )
    return Claim(text, published, rule, partial(decide_difference, measure, ours, theirs, sign), unit=_UNITS[measure])


def decide_difference(measure: str, ours: Arm, theirs: Arm, sign: int, arms: Arms) -> Verdict:
    """The rule of ``difference_claim``, in code."""
    decide = partial(below if sign < 0 else above, bound=0.0)
    return decide_paired(arms.difference(measure, ours, theirs), decide)


def _name(arm: Arm) -> str:
    return f"“{arm}”" if isinstance(arm, str) else f"the best of {', '.join(f'“{one}”' for one in arm)} at each size"
