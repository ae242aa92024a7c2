"""The claims about the toy memories, and their rules."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

from moefacts.analysis.comparison import Value, paired_difference
from moefacts.analysis.summary import estimate
from moefacts.analysis.unit import POINTS, RATIO, SHARE, Unit
from moefacts.experiments.engine.study import FinishedSimulation
from moefacts.experiments.engine.verdict import Claim, Verdict, above, below, cannot_tell, within
from moefacts.experiments.studies._paired import decide_paired, log_ratio
from moefacts.experiments.studies.toy_memory.settings import (
    ALL,
    BOTH_HALVES,
    KEY_VALUE,
    NO_DIRECTION,
    NO_NORM,
    REPLAY_16,
    REPLAY_OF,
    SHARED_DIRECTION,
    new_pairs,
    replay,
)

KNOWN = 0.9  # the share of old facts recalled before fine-tuning, and of new ones at its end, that a rule needs
COLLAPSED = 0.5  # the recall of old facts at the trough of a collapse is below this
REBOUND = 0.1  # recall rises by more than this in a recovery
DROP_LEFT = 0.5  # replay does not prevent the drop if more than this share of it is left
LEFT = 0.5  # an ingredient is necessary if less than this share of the rebound is left without it
TOLERANCE = 0.1  # of published numbers
WEIGHT = "1/32"  # the replay weight that is compared with none
PUBLISHED = {(ALL, "trough"): 0.17, (REPLAY_16, "trough"): 0.50, (ALL, "end"): 0.54, (REPLAY_16, "end"): 0.62}
Decide = Callable[..., Verdict]


@dataclass(frozen=True)
class Toys:
    """The finished simulations of both toys."""

    simulations: Sequence[FinishedSimulation]

    def values(self, toy: str, arm: str, measure: str) -> dict[int, float]:
        """Seed -> a measure (``analysis.recall``) of one arm of one toy."""
        return {one.seed: one.measures[arm][measure] for one in self.simulations if one.labels["simulation"] == toy}

    def steps(self, toy: str, arm: str, measure: str) -> Mapping[int, Value]:
        """The same for a step; what did not happen is later than the last step."""
        last, found = self.values(toy, arm, "last_step"), self.values(toy, arm, measure)
        return {seed: (last[seed], math.inf) if step is None else step for seed, step in found.items()}

    def unready(self, toy: str, arms: Sequence[str], until_learned: bool) -> str:
        """Why some seeds say nothing about these arms, in words; empty if all do.

        Args:
            toy: the toy.
            arms: its arms.
            until_learned: whether new facts must be known at the end.
        """
        needed = {"start": "old facts were not known before fine-tuning"}
        if until_learned:
            needed["new_end"] = "new facts were not learned by its end"
        for arm in arms:
            for measure, text in needed.items():
                values = self.values(toy, arm, measure)
                early = [seed for seed, value in values.items() if value < KNOWN]
                if early:
                    return f"in {len(early)} of {len(values)} seeds {text} ({arm})"
        return ""


def _with(needed: Callable[[Toys], str], decide: Callable[[Toys], Verdict], toys: Toys) -> Verdict:
    reason = needed(toys)
    return cannot_tell(reason) if reason else decide(toys)


_RECALL, _RECALL_POINTS = Unit(SHARE, "of old facts recalled"), Unit(POINTS, "of old facts recalled")


def _claim(
    text: str,
    published: str,
    rule: str,
    decide: Callable[[Toys], Verdict],
    toy: str,
    arms: Sequence[str],
    until_learned: bool = False,
    unit: Unit = _RECALL_POINTS,
) -> Claim:
    """A claim that cannot be told if old facts were not known, or new ones not learned where this is needed."""

    def needed(toys: Toys) -> str:
        return toys.unready(toy, arms, until_learned)

    rule += f" Cannot tell either if in some seed less than {KNOWN:.0%} of the old facts were known before"
    rule += f", or less than {KNOWN:.0%} of the new ones at the end." if until_learned else "."
    return Claim(text, published, rule, partial(_with, needed, decide), unit=unit)


def _difference(toy: str, ours: str, theirs: str, measure: str, share: float, decide: Decide, toys: Toys) -> Verdict:
    """Decide from a measure of one arm minus ``share`` times that of another, paired by seed."""

    def difference(a: float, b: float) -> float:
        return a - share * b

    pair = paired_difference(toys.values(toy, ours, measure), toys.values(toy, theirs, measure), difference)
    return decide_paired(pair, decide)


def _faster(toy: str, arm: str, toys: Toys) -> Verdict:
    forgetting, learning = (toys.steps(toy, arm, f"{what}_step") for what in ("forgetting", "learning"))
    return decide_paired(paired_difference(forgetting, learning, log_ratio), partial(below, bound=0.0))


def _necessary(without: str, toys: Toys) -> Verdict:
    whole = toys.values(SHARED_DIRECTION, ALL, "rebound").values()
    if whole and fmean(whole) <= REBOUND:
        return cannot_tell(f"with all ingredients the mean rebound is {fmean(whole):.3g}, so there is no recovery")
    return _difference(SHARED_DIRECTION, without, ALL, "rebound", LEFT, partial(below, bound=0.0), toys)


def _mean(toy: str, arm: str, measure: str, decide: Decide, toys: Toys) -> Verdict:
    """Decide from the mean of a measure over seeds."""
    mean = estimate(list(toys.values(toy, arm, measure).values()))
    if mean is None:
        return cannot_tell("there are no simulations")
    interval = None if mean.low is None or mean.high is None else (mean.low, mean.high)
    verdict = decide(mean.mean, interval, count=mean.count)
    return replace(verdict, here=f"{verdict.here} over {mean.count} seeds")


_VERDICTS = "; does not hold if it lies {}; cannot tell otherwise."
_BELOW_0, _ABOVE_0 = "lies below 0" + _VERDICTS.format("above"), "lies above 0" + _VERDICTS.format("below")
_FASTER = (
    "Log ratio of the steps until the recall of old facts has fallen to half to the steps until half of the new ones "
    f"are recalled. Holds if the 95% interval of its mean over seeds {_BELOW_0} What did not happen is later than the "
    "last step."
)
_FASTER_UNIT = Unit(RATIO, "the steps until half of the new ones are recalled")
_PLAIN, _REPLAYED = new_pairs(REPLAY_OF), replay(WEIGHT)
_OF_STUDY = (
    _claim(
        f"The study's toy, {_PLAIN}: old pairs are forgotten before the new ones are learned",
        "shown without numbers (Figure Q)",
        _FASTER,
        partial(_faster, KEY_VALUE, _PLAIN),
        KEY_VALUE,
        [_PLAIN],
        unit=_FASTER_UNIT,
    ),
    _claim(
        f"The study's toy: replay (weight {WEIGHT}) raises what is known of old pairs at the end",
        "shown without numbers (Figure R)",
        "Difference between the recall of old pairs at the end with and without replay, paired by seed. Holds if the "
        f"95% interval of its mean {_ABOVE_0}",
        partial(_difference, KEY_VALUE, _REPLAYED, _PLAIN, "end", 1.0, partial(above, bound=0.0)),
        KEY_VALUE,
        [_PLAIN, _REPLAYED],
    ),
    _claim(
        f"The study's toy: replay (weight {WEIGHT}) does not prevent the drop",
        "shown without numbers (Figure R)",
        f"Drop of the recall of old pairs to its trough with replay, minus {DROP_LEFT:g} times the drop without, "
        f"paired by seed. Holds if the 95% interval of its mean {_ABOVE_0}",
        partial(_difference, KEY_VALUE, _REPLAYED, _PLAIN, "drop", DROP_LEFT, partial(above, bound=0.0)),
        KEY_VALUE,
        [_PLAIN, _REPLAYED],
    ),
)
_OF_PALIT = (
    _claim(
        "Palit et al.: new facts make the recall of old ones collapse",
        f"trough at {PUBLISHED[ALL, 'trough']:.0%}",
        f"Holds if the 95% interval of the mean trough lies below {COLLAPSED:.0%}" + _VERDICTS.format("above"),
        partial(_mean, SHARED_DIRECTION, ALL, "trough", partial(below, bound=COLLAPSED)),
        SHARED_DIRECTION,
        [ALL],
        unit=_RECALL,
    ),
    _claim(
        "Palit et al.: old facts are forgotten before the new ones are learned",
        "none published",
        _FASTER,
        partial(_faster, SHARED_DIRECTION, ALL),
        SHARED_DIRECTION,
        [ALL],
        unit=_FASTER_UNIT,
    ),
    _claim(
        "Palit et al.: the recall of old facts recovers without any being shown again",
        f"from {PUBLISHED[ALL, 'trough']:.0%} to {PUBLISHED[ALL, 'end']:.0%} at the end",
        "Rebound: the highest recall from the trough on, minus the trough. Holds if the 95% interval of its mean lies "
        f"above {REBOUND:.0%}" + _VERDICTS.format("below"),
        partial(_mean, SHARED_DIRECTION, ALL, "rebound", partial(above, bound=REBOUND)),
        SHARED_DIRECTION,
        [ALL],
        until_learned=True,
    ),
    *(
        _claim(
            f"Palit et al.: replay of 16 old facts raises the recall of the others at the {measure}",
            f"from {PUBLISHED[ALL, measure]:.0%} to {PUBLISHED[REPLAY_16, measure]:.0%}",
            f"Difference between the recall of old facts that are never replayed at the {measure} with and without "
            f"replay, paired by seed. Holds if the 95% interval of its mean {_ABOVE_0}",
            partial(_difference, SHARED_DIRECTION, REPLAY_16, ALL, measure, 1.0, partial(above, bound=0.0)),
            SHARED_DIRECTION,
            [ALL, REPLAY_16],
            until_learned=measure == "end",
        )
        for measure in ("trough", "end")
    ),
    *(
        _claim(
            f"Palit et al.: {ingredient} is necessary",
            "removing it removes collapse or recovery",
            f"Rebound without it, minus {LEFT:g} times the rebound with all ingredients, paired by seed: without a "
            "collapse or without a recovery there is little rebound. Holds if the 95% interval of its mean "
            f"{_BELOW_0} Cannot tell either if the mean rebound with all ingredients is at most {REBOUND:.0%}.",
            partial(_necessary, without),
            SHARED_DIRECTION,
            [ALL, without],
            until_learned=True,
        )
        for ingredient, without in (
            ("a direction that all keys share", NO_DIRECTION),
            ("drawing new values from one half", BOTH_HALVES),
            ("normalisation", NO_NORM),
        )
    ),
    *(
        _claim(
            f"Palit et al., {arm}: the recall of old facts at the {measure} is as published",
            f"{published:.0%}",
            f"Holds if the 95% interval of its mean lies within {100 * TOLERANCE:.0f} percentage points of the "
            "published one; does not hold if it lies outside; cannot tell otherwise.",
            partial(
                _mean,
                SHARED_DIRECTION,
                arm,
                measure,
                partial(within, low=published - TOLERANCE, high=published + TOLERANCE),
            ),
            SHARED_DIRECTION,
            [arm],
            until_learned=measure == "end",
            unit=_RECALL,
        )
        for (arm, measure), published in PUBLISHED.items()
    ),
)
CLAIMS = _OF_STUDY + _OF_PALIT
