"""How people who are no longer shown are forgotten: the evidence of leaving."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import optimize

from moefacts.analysis.comparison import Bounds
from moefacts.analysis.retention_at_end import retention_at_end
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.studies.leaving.grid import LEAVING, SIZE, STAYING, USUAL
from moefacts.runs import keys

LONGEST = 100.0  # revisit intervals; a longer time scale cannot be told from none


@dataclass(frozen=True)
class Forgotten:
    """How one run forgets the people who left."""

    run: FinishedRun

    @property
    def interval(self) -> float:
        """The number of steps between two biographies of a person before anybody left."""
        return float(self.run.labels["size"] / self.run.record.batch_size)

    @cached_property
    def known(self) -> pd.DataFrame:
        """What is known of ``staying`` and ``leaving`` people in nats, by steps since the latter left.

        It is the loss on people who were never shown minus the loss on them: 0 when they are forgotten.
        """
        record = self.run.record
        unseen = record.curve(keys.ATTRIBUTE_LOSS, keys.UNSEEN)
        parts = {part: record.curve(keys.ATTRIBUTE_LOSS, bucket=part) for part in ("staying", "leaving")}
        table = pd.DataFrame({part: unseen - loss for part, loss in parts.items()}).dropna()
        start = record.settings.sampling.leaving_step
        table = table[table.index >= start]
        return table.set_axis(table.index - start)

    def share(self, part: str) -> float | None:
        """What is known of ``part`` at the last evaluation over its value when people left; None if it was nothing."""
        first, last = self.known[part].iloc[0], self.known[part].iloc[-1]
        return float(last / first) if first > 0 else None

    @cached_property
    def time_scale(self) -> float | None:
        """τ of a·exp(−steps / τ), by least squares; None if it is not shorter than ``LONGEST`` revisit intervals."""
        if self.share("leaving") is None:
            return None
        step, known = self.known.index.to_numpy(float), self.known["leaving"].to_numpy()
        bounds = ([0.0, 1.0], [10 * known[0], LONGEST * self.interval])
        guess = (known[0], self.interval)
        (_, tau), _ = optimize.curve_fit(lambda t, a, tau: a * np.exp(-t / tau), step, known, guess, bounds=bounds)
        return float(tau) if tau < 0.99 * bounds[1][1] else None

    @property
    def bounds(self) -> Bounds | None:
        """Bounds of the time scale: of people who are not forgotten it is at least ``LONGEST`` revisit intervals."""
        if self.share("leaving") is None:
            return None
        tau = self.time_scale
        return (LONGEST * self.interval, math.inf) if tau is None else (tau, tau)

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
    """What is compared.

    Attributes:
        leaving: the runs of the usual settings in which people leave.
        staying: those in which nobody does.
        by_settings: settings, the usual ones among them -> the runs of ``SIZE`` people in which people leave.
    """

    leaving: Sequence[Forgotten]
    staying: Sequence[FinishedRun]
    by_settings: Mapping[str, Sequence[Forgotten]]

    @classmethod
    def of_runs(cls, runs: Sequence[FinishedRun]) -> "Evidence":
        """The runs by their labels."""
        leaving = [Forgotten(run) for run in runs if run.labels["arm"] == LEAVING]
        by_settings: dict[str, list[Forgotten]] = {}
        for one in leaving:
            if one.run.labels["size"] == SIZE:
                by_settings.setdefault(one.run.labels["settings"], []).append(one)
        staying = [run for run in runs if (run.labels["arm"], run.labels["settings"]) == (STAYING, USUAL)]
        return cls([one for one in leaving if one.run.labels["settings"] == USUAL], staying, by_settings)

    @cached_property
    def fitted(self) -> dict[tuple[int, int], float | None]:
        """(people, seed) -> τ as fitted to one checkpoint, in steps; None where it cannot be told."""
        fits = {(run.labels["size"], run.seed): retention_at_end(run.record) for run in self.staying}
        return {key: fit.time_scale if fit is not None and fit.is_known else None for key, fit in fits.items()}

    @property
    def true(self) -> dict[tuple[int, int], float | None]:
        """(people, seed) -> the time scale in which the people who left are forgotten, in steps."""
        return {(one.run.labels["size"], one.run.seed): one.time_scale for one in self.leaving}

    def shares(self, settings: str) -> dict[int, float | None]:
        """Seed -> the share that is kept of what was known of the people who left."""
        return {one.run.seed: one.share("leaving") for one in self.by_settings.get(settings, ())}
