"""What the runs of law-causes say: ratios of paired runs, and exponents of the law."""

import math
from collections.abc import Sequence
from functools import cached_property

from moefacts.analysis.comparison import Bounds, Paired, paired_difference
from moefacts.analysis.plateau_end import CANNOT_TELL, NORMAL_95, REACHED
from moefacts.analysis.scaling_law import Point, PowerLaw, fit_power_law
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.studies._arms import END, Arms
from moefacts.experiments.studies._paired import bounds_of, log_ratio
from moefacts.experiments.studies.law_causes.grids import FINISHED, USUAL

KNOWN, LENGTH = "steps_to_5_knowledge", "plateau_length"
_STATUS = {KNOWN: f"{KNOWN}_status"}  # measure -> whether it can be told; the others can where the plateau's end can
PAIRS_NEEDED = 2  # at a size; the scatter of a single pair is not known
Pairs = Sequence[tuple[str, str]]  # of arms; the first is compared with the second


class Evidence:
    """The runs by arm and size, and what is compared between them."""

    def __init__(self, runs: Sequence[FinishedRun]):
        self.arms = Arms(runs)

    def values(self, measure: str, arm: str, size: int | None = None) -> list[float | None]:
        """A measure of the runs of an arm, at one size or at all; None where it was not reached or cannot be told."""
        bounds = self._bounds(measure, arm, size).values()
        return [one[0] if one is not None and one[0] == one[1] else None for one in bounds]

    def encounters(self, arm: str, size: int) -> list[float | None]:
        """The biographies per person until the plateau ends, of every run of an arm."""
        batches = [run.record.batch_size for run in self.arms.members(arm, size)]
        ends = self.values(END, arm, size)
        return [None if end is None else end * batch / size for end, batch in zip(ends, batches, strict=True)]

    def ratio(self, measure: str, pairs: Pairs, size: int | None = None) -> Paired | None:
        """The mean log ratio of a measure over pairs of arms and all pairs of runs of equal size and seed in them."""
        ours: dict[tuple[int, int, int], Bounds | None] = {}
        theirs: dict[tuple[int, int, int], Bounds | None] = {}
        for number, (one, other) in enumerate(pairs):
            ours |= {(number, *key): value for key, value in self._bounds(measure, one, size).items()}
            theirs |= {(number, *key): value for key, value in self._bounds(measure, other, size).items()}
        return paired_difference(ours, theirs, log_ratio)

    def _bounds(self, measure: str, arm: str, size: int | None) -> dict[tuple[int, int], Bounds | None]:
        def bounds(run: FinishedRun) -> Bounds | None:
            if measure == KNOWN and run.measures[_STATUS[KNOWN]] == CANNOT_TELL:
                return None
            return bounds_of(run, measure)

        return {(run.labels["size"], run.seed): bounds(run) for run in self.arms.members(arm, size)}

    def law(self, arm: str, measure: str = END) -> PowerLaw | None:
        """The law of a measure of an arm; None with fewer than three sizes that have it in every seed.

        The noise of evaluations counts for plateau ends; the other measures have none.
        """
        return _fit([_point(self.arms.members(arm, size), measure) for size in self.arms.sizes])

    @cached_property
    def ratio_law(self) -> PowerLaw | None:
        """The law of the plateau end with finished attention over that with a run's own attention.

        Its exponent is the difference of the two exponents. None with fewer than three sizes at which all pairs of
        runs have both ends.
        """
        return _fit([self._ratio_point(size) for size in self.arms.sizes])

    def _pairs(self, size: int) -> list[tuple[FinishedRun, FinishedRun]]:
        own = {run.seed: run for run in self.arms.members(USUAL, size)}
        return [(run, own[run.seed]) for run in self.arms.members(FINISHED, size) if run.seed in own]

    def _ratio_point(self, size: int) -> Point | None:
        pairs = self._pairs(size)
        points = [_point([run for run, _ in pairs]), _point([run for _, run in pairs])]
        if len(pairs) < PAIRS_NEEDED or None in points:
            return None
        ours, theirs = (point for point in points if point is not None)
        ratios = [one / other for one, other in zip(ours.values, theirs.values, strict=True)]
        relative = [_relative_errors(point) for point in (ours, theirs)]
        errors = [ratio * math.hypot(*both) for ratio, *both in zip(ratios, *relative, strict=True)]
        return Point(size, ratios, errors, ours.seeds)

    def open_pairs(self) -> str:
        """At which sizes the end of some paired run is not known, in words; empty if there is none."""
        sizes = [
            f"{size:,}"
            for size in self.arms.sizes
            if any(run.measures["plateau_end_status"] != REACHED for pair in self._pairs(size) for run in pair)
        ]
        return f"no plateau end in some run at {', '.join(sizes)} people" if sizes else ""


def _point(runs: Sequence[FinishedRun], measure: str = END) -> Point | None:
    values = [run.measures[measure] for run in runs]
    statuses = [run.measures[_STATUS.get(measure, "plateau_end_status")] for run in runs]
    if not runs or any(status != REACHED for status in statuses) or any((value or 0) <= 0 for value in values):
        return None
    errors = [0.0] * len(runs)
    if measure == END:
        widths = [run.measures["plateau_end_high"] - run.measures["plateau_end_low"] for run in runs]
        errors = [width / (2 * NORMAL_95) for width in widths]
    return Point(runs[0].labels["size"], values, errors, [run.seed for run in runs])


def _relative_errors(point: Point) -> list[float]:
    return [error / value for error, value in zip(point.standard_errors, point.values, strict=True)]


def _fit(points: Sequence[Point | None]) -> PowerLaw | None:
    known = [point for point in points if point is not None]
    return fit_power_law(known) if len(known) >= 3 else None
