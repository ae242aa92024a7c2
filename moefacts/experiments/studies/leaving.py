"""Is the time scale of forgetting that is fitted to one checkpoint the one in which people are really forgotten?

The retention probe fits τ to how much less is known of people who were shown longer ago (``analysis.fading``). Where
the plateau ends, the fit gave 1.6 to 1.9 times the interval N/B at which people are shown, whatever N (LOG.md), so it
may measure how far apart biographies are instead of forgetting. Here the same run is trained again, and from its
plateau's end on a quarter of the people, a random one, is shown no more. What is known of them then fades on a time
scale that no fit to a single moment is needed for.

What is known of people is the loss on people who were never shown less the loss on them, at the same step. It is 0 when
they are forgotten.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import optimize

from moefacts.analysis.comparison import Bounds, paired_difference
from moefacts.analysis.phases import phase_measures
from moefacts.analysis.plateau_end import REACHED
from moefacts.analysis.retention_at_end import retention_at_end, why_untold
from moefacts.analysis.scaling_law import Point, PowerLaw, fit_power_law
from moefacts.analysis.study_report import Table
from moefacts.analysis.summary import estimate, format_number
from moefacts.errors import UserError
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, cannot_tell, within
from moefacts.experiments.studies._finetuned import last_of_each
from moefacts.experiments.studies._paired import decide_paired, log_ratio
from moefacts.experiments.studies.plateau_law.grids import fixed_rate, law_run
from moefacts.runs import keys
from moefacts.runs.reader import Run

SIZES, _SEEDS, _BATCH = (256, 512, 1024, 2048), 3, 32
USUAL, LEAVING = "everybody stays", "a quarter leaves"
_INTERVALS = 6  # the run ends so many revisit intervals after people left; the fit's τ is less than two of them
_PER_INTERVAL = 2  # evaluations
_LONGEST = 100.0  # revisit intervals; a longer time scale cannot be told from none
_AGREE, _ALIKE = 0.405, 0.25  # the first is the logarithm of 1.5


@dataclass(frozen=True)
class FromPlateauEnd:
    """Settings under which people leave where the plateau of the only needed run ended (``GridRun.settings_from``)."""

    size: int

    def __call__(self, runs: Sequence[Run]) -> tuple[str, ...]:
        """The overrides.

        Raises:
            UserError: the plateau's end cannot be determined.
        """
        (run,) = runs
        measures = phase_measures(run)
        if measures["plateau_end_status"] != REACHED:
            raise UserError(f"the run in which nobody leaves has no plateau end: {measures['plateau_end_reason']}")
        return self.at(measures["plateau_end"])

    def at(self, step: int) -> tuple[str, ...]:
        """The overrides when people leave at ``step``."""
        interval = self.size / _BATCH
        marks = [step + round(k * interval / _PER_INTERVAL) for k in range(_INTERVALS * _PER_INTERVAL + 1)]
        return (
            f"sampling.leaving_step={step}",
            f"training.steps={marks[-1]}",
            f"evaluation.also_at=[{','.join(map(str, marks))}]",
        )


def _runs(size: int, seed: int) -> list[GridRun]:
    usual = law_run("laptop", size, seed, [fixed_rate("laptop")], {"arm": USUAL})
    settings = ("sampling.kind=leaving", f"sampling.num_leaving={size // 4}", "training.stop_after_plateau=null")
    start = FromPlateauEnd(size)
    overrides = last_of_each(*usual.overrides, *settings, *start.at(usual.expected_steps or 1))
    return [usual, GridRun(overrides, None, {"arm": LEAVING, "size": size}, (usual,), start)]


def _grid() -> list[GridRun]:
    pairs = [_runs(size, seed) for size in reversed(SIZES) for seed in seeds_for(size, _SEEDS)]
    return [usual for usual, _ in pairs] + [leaving for _, leaving in pairs]


@dataclass(frozen=True)
class Forgotten:
    """How one run forgets the people who left."""

    run: FinishedRun

    @property
    def interval(self) -> float:
        """The number of steps between two biographies of a person before anybody left."""
        return float(self.run.labels["size"] / _BATCH)

    @cached_property
    def known(self) -> pd.DataFrame:
        """What is known of ``staying`` and ``leaving`` people in nats, by steps since the latter left."""
        record = self.run.record
        unseen = record.curve(keys.ATTRIBUTE_LOSS, keys.UNSEEN)
        parts = {part: record.curve(keys.ATTRIBUTE_LOSS, bucket=part) for part in ("staying", "leaving")}
        table = pd.DataFrame({part: unseen - loss for part, loss in parts.items()}).dropna()
        start = record.settings.sampling.leaving_step
        table = table[table.index >= start]
        return table.set_axis(table.index - start)

    @cached_property
    def time_scale(self) -> float | None:
        """τ of a·exp(−steps / τ), by least squares; None if it is not shorter than ``_LONGEST`` revisit intervals."""
        if not self.was_known:
            return None
        step, known = self.known.index.to_numpy(float), self.known["leaving"].to_numpy()
        bounds = ([0.0, 1.0], [10 * known[0], _LONGEST * self.interval])
        guess = (known[0], self.interval)
        (_, tau), _ = optimize.curve_fit(lambda t, a, tau: a * np.exp(-t / tau), step, known, guess, bounds=bounds)
        return float(tau) if tau < 0.99 * bounds[1][1] else None

    @property
    def was_known(self) -> bool:
        """Whether anything was known of the people who left when they left."""
        return bool(self.known["leaving"].iloc[0] > 0)

    @property
    def bounds(self) -> Bounds | None:
        """Bounds of the time scale: of people who are not forgotten it is at least ``_LONGEST`` revisit intervals."""
        if not self.was_known:
            return None
        tau = self.time_scale
        return (_LONGEST * self.interval, math.inf) if tau is None else (tau, tau)

    @property
    def kept(self) -> float | None:
        """What is known of the people who left, at the last checkpoint over the one before they left.

        It is measured against permuted values, so that it does not depend on people never seen. None before the
        retention probe has run, or if nothing was known of them.
        """
        table = self.run.record.retention
        if table is None:
            return None
        known = table.assign(known=table[keys.CONTROL_LOSS] - table[keys.ATTRIBUTE_LOSS])
        by_step = {step: rows.set_index("individual") for step, rows in known.groupby("step")}
        start, last = self.run.record.settings.sampling.leaving_step, by_step[max(by_step)]
        before = by_step[max((step for step in by_step if step <= start), default=min(by_step))]
        gone = last.index[last["steps_since_shown"] >= max(by_step) - start]
        first, end = before.loc[gone, "known"].mean(), last.loc[gone, "known"].mean()
        return float(end / first) if first > 0 else None


@dataclass(frozen=True)
class Evidence:
    """The runs in which people leave, and the time scales that were fitted in those in which nobody does."""

    leaving: Sequence[Forgotten]
    usual: Sequence[FinishedRun]

    @property
    def fitted(self) -> dict[tuple[int, int], float | None]:
        """(people, seed) -> the fitted time scale in steps; None where it cannot be told."""
        fits = {(run.labels["size"], run.seed): retention_at_end(run.record) for run in self.usual}
        return {key: fit.time_scale if fit is not None and fit.is_known else None for key, fit in fits.items()}

    @property
    def true(self) -> dict[tuple[int, int], float | None]:
        """(people, seed) -> the time scale in which the people who left are forgotten, in steps."""
        return {(one.run.labels["size"], one.run.seed): one.time_scale for one in self.leaving}


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Compare the two time scales of every run."""
    leaving = [Forgotten(run) for run in runs if run.labels["arm"] == LEAVING]
    evidence = Evidence(leaving, [run for run in runs if run.labels["arm"] == USUAL])
    fitted, true, rows, values = evidence.fitted, evidence.true, [], []
    for size in SIZES:
        ours = [one for one in leaving if one.run.labels["size"] == size]
        scales = [true[size, one.run.seed] for one in ours]
        cell = ", ".join(_bounded(one.bounds) for one in ours) or "–"
        fits = [tau for (people, _), tau in fitted.items() if people == size]
        whys = {
            why_untold(run.record, retention_at_end(run.record)) for run in evidence.usual if run.labels["size"] == size
        }
        over = estimate([None if tau is None else tau * _BATCH / size for tau in scales])
        left = estimate([float(one.known["staying"].iloc[-1] / one.known["staying"].iloc[0]) for one in ours])
        kept = estimate([one.kept for one in ours])
        cells = (
            cell,
            "–" if over is None else over.text(),
            _cells(fits),
            "–" if kept is None else kept.text(),
            "–" if left is None else left.text(),
        )
        rows.append([f"{size:,}", f"{size / _BATCH:.0f}", *cells, "; ".join(sorted(whys - {""})) or "–"])
        values.append({"size": size, "time_scales": scales, "fitted": fits, "kept": kept and vars(kept)})
    columns = ["people", "revisit interval N/B (steps)", "forgotten with τ (steps), each seed", "over N/B"]
    columns += ["fitted τ (steps), each seed", "known of those who left, against permuted values, end over start"]
    columns += ["known of those who stay, end over start", "fit cannot tell"]
    note = "Who stays is the control: less may not be known of them at the end."
    table = Table("Time scales of forgetting where the plateau ends", columns, rows, note)
    caption = (
        "What is known of people who are shown no more from the plateau's end on, and of those who stay: the loss on "
        "people never shown less the loss on them, over its value when they left. Thin: runs."
    )
    figures = {"leaving": (caption, partial(_figure, leaving))} if leaving else {}
    return Findings({"sizes": values}, [table], figures, evidence)


def _cells(scales: Sequence[float | None]) -> str:
    return ", ".join(format_number(tau) if tau is not None else "not told" for tau in scales) or "–"


def _bounded(bounds: Bounds | None) -> str:
    if bounds is None:
        return "not told"
    return format_number(bounds[0]) if bounds[0] == bounds[1] else f"over {format_number(bounds[0])}"


def _figure(leaving: Sequence[Forgotten]) -> Figure:
    sizes = sorted({one.run.labels["size"] for one in leaving})
    width, height = plt.rcParams["figure.figsize"]
    figure, panels = plt.subplots(
        1, len(sizes), figsize=(0.62 * width * len(sizes), height), sharey=True, squeeze=False
    )
    for axes, size in zip(panels[0], sizes, strict=True):
        ours = [one for one in leaving if one.run.labels["size"] == size]
        for part, color in (("staying", "#0072B2"), ("leaving", "#D55E00")):
            curves = [one.known[part] / one.known[part].iloc[0] for one in ours]
            for curve in curves:
                axes.plot(curve.index, curve, color=color, linewidth=0.6, alpha=0.5)
            mean = pd.concat([pd.Series(c.to_numpy(), range(len(c))) for c in curves], axis=1).mean(axis=1)
            axes.plot(curves[0].index[: len(mean)], mean, color=color, label=f"people {part}")
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_title(f"{size:,} people")
        axes.set_xlabel("steps since they left")
        axes.grid(axis="y")
    panels[0][0].set_ylabel("known, over its value then")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _agrees(evidence: Evidence) -> Verdict:
    true = {(one.run.labels["size"], one.run.seed): one.bounds for one in evidence.leaving}
    pair = paired_difference(evidence.fitted, true, log_ratio)
    return decide_paired(pair, partial(within, low=-_AGREE, high=_AGREE))


def _is_alike(evidence: Evidence) -> Verdict:
    true = evidence.true
    missing = [key for key, tau in true.items() if tau is None]
    if missing:
        return cannot_tell(f"in {len(missing)} of {len(true)} runs the people who left are not forgotten")
    law = _fit(evidence)
    if law is None:
        return cannot_tell(f"fewer than two runs at one of {len(SIZES)} sizes")
    return within(law.b, law.b_interval, -_ALIKE, _ALIKE)


def _fit(evidence: Evidence) -> PowerLaw | None:
    """The time scale as a power law of the number of people; None with fewer than two runs at some size."""
    points = []
    for size in SIZES:
        scales = {seed: tau for (people, seed), tau in evidence.true.items() if people == size and tau is not None}
        if len(scales) < 2:
            return None
        points.append(Point(size, [*scales.values()], [0.0] * len(scales), [*scales]))
    return fit_power_law(points)


_CLAIMS = (
    Claim(
        "The time scale fitted to one checkpoint is the one in which people are forgotten",
        "not in the paper",
        "Log ratio of the fitted time scale to the one of people who left, over pairs of runs of equal size and seed. "
        f"Holds if its 95% interval lies inside ±{_AGREE} (a factor of 1.5); does not hold if it lies outside; cannot "
        f"tell otherwise. Where those who left are not forgotten, their time scale is at least {_LONGEST:g} N/B.",
        _agrees,
    ),
    Claim(
        "People are forgotten on the same time scale, however many there are",
        "not in the paper",
        "Exponent of the time scale in the number of people, with a bootstrap over seeds. Holds if its 95% interval "
        f"lies inside ±{_ALIKE:g}; does not hold if it lies outside; cannot tell otherwise, or if in some run those "
        "who left are not forgotten.",
        _is_alike,
    ),
)

STUDY = Study(
    name="leaving",
    title="Are people who are no longer shown forgotten as fast as a fit to one checkpoint says?",
    figure="not in the paper",
    grids={"laptop": _grid()},
    claims={"laptop": _CLAIMS},
    examine=examine,
    probes=("retention",),
)
