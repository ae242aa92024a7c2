"""Figure 2, right: when the plateau ends, as a function of the number of people (study, section 4)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from moefacts.analysis.scaling_law import PowerLaw
from moefacts.analysis.study_report import Table
from moefacts.analysis.summary import estimate, format_number
from moefacts.experiments.engine.study import Findings, FinishedRun, Study
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS, Claim, Verdict, cannot_tell, within
from moefacts.experiments.studies.phases import PLATEAU_SHARE
from moefacts.experiments.studies.plateau_law import published
from moefacts.experiments.studies.plateau_law.grids import (
    laptop_grid,
    laptop_rate_grid,
    paper_grid,
    paper_rate_grid,
)
from moefacts.experiments.studies.plateau_law.plateau_law_figures import (
    SizePoint,
    encounters_figure,
    law_figure,
    lengths_figure,
    residuals_figure,
)
from moefacts.experiments.studies.plateau_law.points import Evidence, size_point

SIZES_NEEDED, FACTOR_NEEDED, R_SQUARED_NEEDED = 5, 16, 0.99
SUBLINEAR = (0, 1)  # with an exponent in between, more people means fewer biographies per person
EXPONENT_MARGIN, PREFACTOR_FACTOR = 0.1, 2  # values this near to the published ones count as equal
ENDS_MARGIN, ENDS_NEEDED = 0.1, 4  # plateau ends this near count as equal; fewer sizes do not decide


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Fit the law. With several learning rates, each size uses the rate with the lowest final training loss."""
    losses = _losses_by_rate(runs)
    best = {size: min(by_rate, key=by_rate.__getitem__) for size, by_rate in losses.items()}
    chosen = [run for run in runs if not best or run.labels["learning_rate"] == best[run.labels["size"]]]
    sizes = sorted({run.labels["size"] for run in chosen})
    points = [size_point(size, [run for run in chosen if run.labels["size"] == size]) for size in sizes]
    evidence = Evidence(points)
    law, length_law = evidence.law, evidence.length_law
    figures = {}
    if any(point.ends for point in points):
        figures["plateau_law"] = (
            "The plateau's end against the number of people.",
            partial(law_figure, points, law),
        )
        figures["encounters"] = (
            "The number of biographies per person until the plateau ends.",
            partial(encounters_figure, points, law),
        )
    if law is not None:
        caption = "How far each run's plateau end is from the fitted law. Dots are single runs, lines their means."
        figures["residuals"] = (caption, partial(residuals_figure, points, law))
    if length_law is not None:
        figures["plateau_length"] = (
            "Steps from the plateau's start (loss within 10% of the baseline) to its end. No claim is about them.",
            partial(lengths_figure, evidence.determined, length_law),
        )
    tables = [_table(evidence, best), *([_rates_table(losses)] if losses else [])]
    values = _values(evidence) | ({"best_learning_rate": best, "final_training_loss": losses} if best else {})
    return Findings(values, tables, figures, evidence)


def _losses_by_rate(runs: Sequence[FinishedRun]) -> dict[int, dict[float, float]]:
    """Size -> learning rate -> final training loss, by which the study chooses a rate. Empty without a sweep."""
    losses: dict[int, dict[float, list[float]]] = {}
    for run in runs:
        if (rate := run.labels.get("learning_rate")) is not None:
            losses.setdefault(run.labels["size"], {}).setdefault(rate, []).append(run.record.final_training_loss)
    return {
        size: {rate: float(np.mean(by_rate[rate])) for rate in sorted(by_rate)}
        for size, by_rate in sorted(losses.items())
    }


def _rates_table(losses: dict[int, dict[float, float]]) -> Table:
    rates = sorted({rate for by_rate in losses.values() for rate in by_rate})
    rows = [
        [f"{size:,}", *(f"{by_rate[rate]:.4f}" if rate in by_rate else "–" for rate in rates)]
        for size, by_rate in losses.items()
    ]
    columns = ["people", *(f"{rate:g}" for rate in rates)]
    note = "In nats per token. At each size, the rate with the lowest loss is chosen."
    return Table("Final training loss by learning rate", columns, rows, note)


def _values(evidence: Evidence) -> dict[str, Any]:
    law = evidence.law
    values = _numbers(law)
    values["length_law"] = _numbers(evidence.length_law)
    values["published"] = {"a": published.A, "b": published.B, "r_squared": published.R_SQUARED}
    values["sizes"] = [
        {
            "size": point.size,
            "plateau_ends": point.ends,
            "standard_errors_of_evaluation": point.errors,
            "plateau_lengths": point.lengths,
            "biographies_per_individual": [end * point.batch_size / point.size for end in point.ends],
            "bits_per_parameter": point.bits_per_parameter,
            "inside": point.inside,
            "outside_because": point.why,
            "log_residual": _residual(point, law),
            "local_exponent": _local_exponent(point, before),
        }
        for before, point in zip([None, *evidence.points], evidence.points, strict=False)
    ]
    return values


def _numbers(law: PowerLaw | None) -> dict[str, Any]:
    parts = [f"{part}{suffix}" for suffix in ("", "_interval") for part in ("a", "b", "r_squared", "bend")]
    return {part: None if law is None else getattr(law, part) for part in parts}


def _local_exponent(point: SizePoint, before: SizePoint | None) -> float | None:
    """The exponent of the law through two neighbouring sizes."""
    if before is None or not before.ends or not point.ends:
        return None
    return float(np.log(point.mean / before.mean) / np.log(point.size / before.size))


def _residual(point: SizePoint, law: PowerLaw | None) -> float | None:
    return None if law is None or not point.ends else float(np.log(point.mean / law.at(point.size)))


def _table(evidence: Evidence, best: dict[int, float]) -> Table:
    rows = []
    for before, point in zip([None, *evidence.points], evidence.points, strict=False):
        residual, local = _residual(point, evidence.law), _local_exponent(point, before)
        rows.append(
            [
                f"{point.size:,}",
                *([f"{best[point.size]:g}"] if best else []),
                ", ".join(format_number(round(end, 1)) for end in point.ends) or "–",
                ", ".join(f"{length:.0f}" for length in point.lengths) or "–",
                f"{point.mean * point.batch_size / point.size:.1f}" if point.ends else "–",
                f"{point.bits_per_parameter:.2f}",
                "–" if local is None else f"{local:.2f}",
                "–" if residual is None else f"{100 * np.expm1(residual):+.1f}%",
                "inside" if point.inside else point.why,
            ]
        )
    law = evidence.law
    note = "There are too few sizes inside the law for a fit."
    if law is not None:
        (a_low, a_high), (b_low, b_high) = law.a_interval, law.b_interval
        note = (
            f"Fit: {law.a:.3g}·N^{law.b:.3f}, R² {law.r_squared:.4f}; 95% intervals a [{a_low:.3g}, {a_high:.3g}], "
            f"b [{b_low:.3f}, {b_high:.3f}] (bootstrap over seeds and evaluation noise), in steps of "
            f"{evidence.points[0].batch_size} biographies. Published: {published.TEXT} steps of "
            f"{published.BATCH_SIZE}, R² {published.R_SQUARED}. With every doubling of the people the exponent changes "
            f"by {law.bend:+.3f} [{law.bend_interval[0]:+.3f}, {law.bend_interval[1]:+.3f}]; in a power law it does "
            "not change. The study's sizes carry 0.005 to 0.34 bits per parameter; a model can hold about 2 (arXiv "
            "2404.05405)."
        )
    if (length := evidence.length_law) is not None:
        (a_low, a_high), (b_low, b_high) = length.a_interval, length.b_interval
        note += (
            f" Fit to the plateau's length, over all sizes that have one: {length.a:.3g}·N^{length.b:.3f}, R² "
            f"{length.r_squared:.4f}; a [{a_low:.3g}, {a_high:.3g}], b [{b_low:.3f}, {b_high:.3f}]."
        )
    columns = ["people", *(["best rate"] if best else []), "plateau end, each seed (steps)", "plateau length (steps)"]
    columns += ["biographies per person", "facts (bits per parameter)", "exponent from the size before"]
    columns += ["against the law", "in the fit"]
    return Table("Plateau end by population size", columns, rows, note)


def _is_power_law(evidence: Evidence) -> Verdict:
    sizes, law = [point.size for point in evidence.inside], evidence.law
    if law is None or len(sizes) < SIZES_NEEDED or max(sizes) < FACTOR_NEEDED * min(sizes):
        found = f"only {len(sizes)} sizes inside the law" + (f", {min(sizes):,} to {max(sizes):,}" if sizes else "")
        return cannot_tell(found if law is None else f"R² {law.r_squared:.4f}, but {found}")
    low, high = law.r_squared_interval
    answer = HOLDS if low >= R_SQUARED_NEEDED else DOES_NOT_HOLD if high < R_SQUARED_NEEDED else CANNOT_TELL
    return Verdict(answer, f"R² {law.r_squared:.4f} [{low:.4f}, {high:.4f}]", law.r_squared, (low, high))


def _exponent_within(low: float, high: float, evidence: Evidence) -> Verdict:
    law = evidence.law
    return cannot_tell("no fit") if law is None else within(law.b, law.b_interval, low, high)


_PREFACTORS = (published.A / PREFACTOR_FACTOR, published.A * PREFACTOR_FACTOR)


def _prefactor(evidence: Evidence) -> Verdict:
    law = evidence.law
    return cannot_tell("no fit") if law is None else within(law.a, law.a_interval, *_PREFACTORS)


def _near_published_ends(evidence: Evidence) -> Verdict:
    """Decide from the log ratio of plateau ends to the published one at every size, averaged over seeds."""
    near, apart, shown = [], [], []
    for point in evidence.points:
        if not point.is_determined or point.size not in published.ENDS:
            continue
        ratio = estimate([float(np.log(end / published.ENDS[point.size])) for end in point.ends])
        assert ratio is not None
        shown.append(f"{point.size // 1000}k ×{np.exp(ratio.mean):.2f}")
        if ratio.low is not None and ratio.high is not None:
            low, high = np.exp([ratio.low, ratio.high])
            near.append(low >= 1 - ENDS_MARGIN and high <= 1 + ENDS_MARGIN)
            apart.append(high < 1 - ENDS_MARGIN or low > 1 + ENDS_MARGIN)
    text = ", ".join(shown)
    if len(near) < ENDS_NEEDED:
        return cannot_tell(f"only {len(near)} of the published sizes have runs with two seeds: {text or 'none'}")
    if all(near):
        return Verdict(HOLDS, text)
    return Verdict(DOES_NOT_HOLD, text) if 2 * sum(apart) > len(apart) else cannot_tell(text)


_LAW = Claim(
    "The plateau's end is a power law of the number of people",
    f"R² = {published.R_SQUARED}",
    f"Holds if the whole 95% interval of R² in log-log is at least {R_SQUARED_NEEDED}; does not hold if all of it is "
    f"less; cannot tell otherwise, with fewer than {SIZES_NEEDED} sizes inside the law, or if these span less than a "
    f"factor of {FACTOR_NEEDED}. A size is inside the law when, in every seed, the plateau's end can be determined "
    f"and the plateau lasts for at least {PLATEAU_SHARE:.0%} of the steps up to its end.",
    _is_power_law,
)
_SUBLINEAR = Claim(
    "The plateau's end grows more slowly than the number of people: each person is met less often until then",
    f"b = {published.B}",
    f"Holds if the 95% interval of b lies inside {list(SUBLINEAR)}; does not hold if it lies outside; cannot tell "
    "otherwise.",
    partial(_exponent_within, *SUBLINEAR),
)
_EXPONENT = Claim(
    "The exponent is that of the study",
    f"b = {published.B}",
    f"Holds if the 95% interval of b lies inside {published.B} ± {EXPONENT_MARGIN}; does not hold if it lies "
    "outside; cannot tell otherwise.",
    partial(_exponent_within, published.B - EXPONENT_MARGIN, published.B + EXPONENT_MARGIN),
)
_PREFACTOR = Claim(
    "The prefactor is that of the study",
    f"a = {published.A}",
    f"Holds if the 95% interval of a lies within a factor of {PREFACTOR_FACTOR} of {published.A}; does not hold if it "
    "lies outside; cannot tell otherwise.",
    _prefactor,
)
_ENDS = Claim(
    "At every size the plateau ends when it does in the study",
    ", ".join(f"{size // 1000}k {end:,}" for size, end in published.ENDS.items()),
    "Compares plateau ends with the published one where all seeds have one: the geometric mean over seeds "
    f"of their ratio. Holds if its 95% interval lies within {ENDS_MARGIN:.0%} of 1 at every size; does not hold if it "
    f"lies outside at more than half of them; cannot tell otherwise or with fewer than {ENDS_NEEDED} sizes of at least "
    "two seeds.",
    _near_published_ends,
)
_LAPTOP_CLAIMS, _PAPER_CLAIMS = (_LAW, _SUBLINEAR, _EXPONENT), (_LAW, _SUBLINEAR, _EXPONENT, _PREFACTOR, _ENDS)

STUDY = Study(
    name="plateau-law",
    title="The plateau's end is a power law of the number of people",
    figure="Figure 2, right",
    grids={"laptop": laptop_grid(), "paper": paper_grid()},
    claims={"laptop": _LAPTOP_CLAIMS, "paper": _PAPER_CLAIMS},
    examine=examine,
)
RATES_STUDY = Study(
    name="plateau-law-lr",
    title="The plateau's end is a power law, also with the best of several learning rates at every size",
    figure="Figure 2, right",
    grids={"laptop": laptop_rate_grid(), "paper": paper_rate_grid()},
    claims={"laptop": _LAPTOP_CLAIMS, "paper": _PAPER_CLAIMS},
    examine=examine,
)
