"""How much less is known of people who were shown longer ago, as a time scale τ, or that it cannot be told.

It is fitted to one checkpoint, and it is not how fast people are forgotten (``NOT_FORGETTING``).

Shape legend: P people, G ranges of times shown, K time scales that are tried, R resamples of people.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from moefacts.analysis.retention import NUM_SHOWN_RANGES, range_of, ranges
from moefacts.runs.reader import Run

NUM_RESAMPLES = 400
_NUM_SCALES = 160
_LONGEST_SCALE = 10.0  # times the largest number of steps since somebody was shown
_ROUNDING = 1e-9
_TINY = 1e-300
NOT_FORGETTING = (
    "τ says how much less is known, at one checkpoint, of people shown longer ago. It is not how fast people are "
    "forgotten: of those who are shown no more, most of what was known is kept (moefacts reproduce leaving)."
)
_TAIL, _SIGNIFICANT, _NEEDED = 0.025, 0.05, 0.01


@dataclass(frozen=True)
class Fading:
    """How much less is known the more steps ago a person was last shown, among people shown about equally often.

    The model is ``knowledge = floor_G + amplitude_G * exp(-steps / time_scale)``, with one time scale for all ranges of
    times shown, and no negative amplitude. The floor is what falls more slowly than the data can show, and it may be 0.
    With floors, the time scale is that of what is above them, so it is not comparable with one without. A floor that is
    there and too small to be told makes the time scale without one longer.

    Attributes:
        time_scale: the estimate, by least squares, in steps; None if it is out of the range that was tried, from one
            step to ten times the longest time since anybody was shown.
        low, high: a 95% interval (percentiles of a bootstrap over people). None where it leaves that range.
        p_value: how often chance explains as much, when knowledge is permuted over the people of each range.
        has_floor: whether the model has floors that need not be 0.
        floor_G, amplitude_G: those of the ranges, in baselines; empty when there is no estimate.
    """

    time_scale: float | None
    low: float | None
    high: float | None
    p_value: float = 1.0
    has_floor: bool = False
    floor_G: tuple[float, ...] = ()
    amplitude_G: tuple[float, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether less is known of people shown longer ago (at 5%), and the data bound the time scale on both sides."""
        return self.p_value < _SIGNIFICANT and None not in (self.time_scale, self.low, self.high)

    @property
    def why(self) -> str:
        """Why the time scale cannot be told; empty if it can."""
        if self.is_known:
            return ""
        if self.p_value >= _SIGNIFICANT:
            return f"no fading can be told from chance (p = {self.p_value:.2f})"
        return "the data do not bound it on both sides"

    def text(self) -> str:
        """The estimate with its interval, or that it cannot be told."""
        if not self.is_known:
            return "cannot tell"
        return f"{self.time_scale:.3g} [{self.low:.3g}, {self.high:.3g}]"


def settling_steps(run: Run) -> int:
    """The steps that half of an update needs to take effect, because of momentum (AdamW's first beta)."""
    beta = run.settings.training.beta1
    return math.ceil(math.log(0.5) / math.log(beta)) if beta > 0 else 0


def fading(people: pd.DataFrame, settling: int = 0, has_floor: bool | None = None) -> Fading:
    """Fit the time scale at one checkpoint, with a bootstrap over people that is always the same.

    Args:
        people: the rows of ``person_table`` of one checkpoint. People who have not been shown do not count.
        settling: people shown fewer steps ago than this do not count, because most of the update that showed them has
            yet to take effect.
        has_floor: whether the model has floors. By default it has if they make the fit better, by an F test at 1%.
    """
    used = people[(people["times_shown"] > 0) & (people["steps_since_shown"] >= settling)]
    if len(used) < 2:
        return Fading(None, None, None)
    times = people.loc[people["times_shown"] > 0, "times_shown"].to_numpy()
    limits = ranges(times, NUM_SHOWN_RANGES)
    group_P = range_of(used["times_shown"].to_numpy(), limits)
    since_P, knowledge_P = used["steps_since_shown"].to_numpy(), used["knowledge"].to_numpy(np.float64)
    groups = [_Group(since_P[group_P == g], knowledge_P[group_P == g]) for g in range(len(limits))]
    return _fit(groups, np.geomspace(1.0, _LONGEST_SCALE * max(1.0, since_P.max()), _NUM_SCALES), has_floor)


@dataclass(frozen=True)
class _Group:
    """The people of one range of times shown; there may be none."""

    since_P: np.ndarray
    knowledge_P: np.ndarray

    def explained(self, weight_RP: np.ndarray, scale_K: np.ndarray, has_floor: bool) -> np.ndarray:
        """By how much the fitted exponential lowers the sum of squares about 0, or about the mean: (R, K)."""
        fade_PK, knowledge_P = np.exp(-self.since_P[:, None] / scale_K), self.knowledge_P
        if has_floor:  # sums of squares keep their digits where all are nearly equal
            fade_PK, knowledge_P = fade_PK - _mean(fade_PK), knowledge_P - _mean(knowledge_P)
        square_RK, product_RK = weight_RP @ fade_PK**2, weight_RP @ (fade_PK * knowledge_P[:, None])
        if has_floor:
            total_R1, sum_RK = np.maximum(weight_RP.sum(axis=1, keepdims=True), 1.0), weight_RP @ fade_PK
            square_RK = square_RK - sum_RK**2 / total_R1
            product_RK = product_RK - sum_RK * (weight_RP @ knowledge_P[:, None]) / total_R1
        least = 1e-12 * (fade_PK**2).sum(axis=0) + _TINY
        return np.where(square_RK > least, np.maximum(product_RK, 0.0) ** 2 / np.maximum(square_RK, least), 0.0)

    def explained_by_chance(self, random: np.random.Generator, scale_K: np.ndarray) -> np.ndarray:
        """What would be explained about the mean if knowledge were permuted over the people: (R, K)."""
        fade_PK = np.exp(-self.since_P[:, None] / scale_K)
        fade_PK -= _mean(fade_PK)
        centred_P = self.knowledge_P - _mean(self.knowledge_P)
        permuted_RP = random.permuted(np.tile(centred_P, (NUM_RESAMPLES, 1)), axis=1)
        return np.maximum(permuted_RP @ fade_PK, 0.0) ** 2 / ((fade_PK**2).sum(axis=0) + _TINY)

    def sum_of_squares(self, has_floor: bool) -> float:
        """That of knowledge about 0, or about its mean."""
        return float(((self.knowledge_P - (_mean(self.knowledge_P) if has_floor else 0.0)) ** 2).sum())

    def line(self, scale: float, has_floor: bool) -> tuple[float, float]:
        """Floor and amplitude at a time scale, by least squares; NaN if there is nobody."""
        if not len(self.since_P):
            return math.nan, math.nan
        fade_P = np.exp(-self.since_P / scale)
        spread_P = fade_P - fade_P.mean() if has_floor else fade_P
        amplitude = max(0.0, float(spread_P @ self.knowledge_P) / max(float(spread_P @ spread_P), _TINY))
        return float(self.knowledge_P.mean() - amplitude * fade_P.mean()) if has_floor else 0.0, amplitude


def _mean(amount: np.ndarray) -> np.ndarray:
    """The mean over people, 0 if there are none."""
    return amount.sum(axis=0) / max(1, len(amount))


def _fit(groups: Sequence[_Group], scale_K: np.ndarray, has_floor: bool | None) -> Fading:
    num_people = sum(len(group.since_P) for group in groups)
    random = np.random.default_rng(0)
    weight_RP = random.multinomial(num_people, np.full(num_people, 1 / num_people), NUM_RESAMPLES)
    weight_RP = np.concatenate([np.ones((1, num_people)), weight_RP])  # the first is the sample itself
    weights = np.split(weight_RP, np.cumsum([len(group.since_P) for group in groups])[:-1], axis=1)

    def explained_RK(has_floor: bool) -> np.ndarray:
        parts = [group.explained(weight, scale_K, has_floor) for group, weight in zip(groups, weights, strict=True)]
        return np.sum(parts, axis=0)

    explained = {floor: explained_RK(floor) for floor in (False, True)}
    if has_floor is None:
        has_floor = _needs_floor(groups, {floor: float(found[0].max()) for floor, found in explained.items()})
    by_chance_RK = np.sum([group.explained_by_chance(random, scale_K) for group in groups], axis=0)
    as_good = (by_chance_RK.max(axis=1) >= explained[True][0].max()).sum()
    scale_R = _best(explained[has_floor], scale_K)
    tails = np.quantile(scale_R[1:], [_TAIL, 1 - _TAIL], method="inverted_cdf")
    best, low, high = (_inside(scale, scale_K) for scale in (scale_R[0], *tails))
    lines = [] if best is None else [group.line(best, has_floor) for group in groups]
    return Fading(
        time_scale=best,
        low=low,
        high=high,
        p_value=float((1 + as_good) / (1 + NUM_RESAMPLES)),
        has_floor=has_floor,
        floor_G=tuple(floor for floor, _ in lines),
        amplitude_G=tuple(amplitude for _, amplitude in lines),
    )


def _needs_floor(groups: Sequence[_Group], explained: dict[bool, float]) -> bool:
    """Whether floors, one per range, make the fit better by an F test, given what it explains without and with them."""
    without, with_floors = (sum(g.sum_of_squares(floor) for g in groups) - explained[floor] for floor in (False, True))
    num_floors = sum(len(group.since_P) > 0 for group in groups)
    num_free = sum(len(group.since_P) for group in groups) - 2 * num_floors - 1
    if num_free < 1:
        return False
    ratio = (without - with_floors) / num_floors / max(with_floors / num_free, _TINY)
    return bool(stats.f.sf(ratio, num_floors, num_free) < _NEEDED)


def _best(explained_RK: np.ndarray, scale_K: np.ndarray) -> np.ndarray:
    """The scale that explains most in each resample: the top of the parabola through the best and its neighbours."""
    row_R, best_R = np.arange(len(explained_RK)), explained_RK.argmax(axis=1)
    inside_R = np.clip(best_R, 1, len(scale_K) - 2)
    left, middle, right = (explained_RK[row_R, inside_R + shift] for shift in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift_R = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0)
    place_R = np.where(best_R == inside_R, inside_R + np.clip(shift_R, -0.5, 0.5), best_R)
    return np.exp(np.interp(place_R, np.arange(len(scale_K)), np.log(scale_K)))


def _inside(scale: float, scale_K: np.ndarray) -> float | None:
    """``scale`` unless it lies at an end of the scales that were tried, up to rounding."""
    return float(scale) if scale_K[0] * (1 + _ROUNDING) < scale < scale_K[-1] * (1 - _ROUNDING) else None
