"""Figures 5 (left) and M: what a model says about people it never saw, while it learns others.

The loss on people who were never seen is at least the baseline, and above it where the model is sure of what it cannot
know. Here they are of two kinds: those of the study, whose names are new combinations of parts that people of training
have, too; and, at laptop scale, people no part of whose names anybody in training has.
"""

from collections.abc import Callable, Sequence
from functools import partial

from moefacts.analysis.comparison_figures import Series, compare_over
from moefacts.analysis.figures import confidence_and_entropy, seen_and_unseen_loss
from moefacts.analysis.groups import Group, people_of
from moefacts.analysis.hallucination import departure
from moefacts.analysis.phases import steps_to_accuracy
from moefacts.analysis.unit import NUMBER, POINTS, SHARE, Unit
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Interval, Verdict, above, below, within
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies._by_arm import ByArm, Measure
from moefacts.runs import keys
from moefacts.runs.reader import Run
from moefacts.synthetic_data.cohorts import UNSEEN_PARTS

ARM = "dense"
_SEEDS = 5
_SIZES = {"laptop": 1024, "paper": 64000}
_PARTS = ("population.unseen_parts=512", "population.held_out_names=8")
_SETTINGS = {
    "laptop": (
        *laptop.SETTINGS,
        *_PARTS,
        f"evaluation.cohorts=[{keys.SEEN},{keys.UNSEEN},{UNSEEN_PARTS}]",
        "evaluation.biographies=512",
        "training.steps=4000",
        "training.schedule=cosine",  # the study's; at a constant rate knowledge levels off near 90%
        "training.stop_at_accuracy=0.95",
        "evaluation.interval=40",
        "evaluation.interval_after_plateau=40",
    ),
    "paper": (),
}
_LIKELY_STEPS = {"laptop": 3400, "paper": None}
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the values of seen people known
START = 0.05  # more than by chance or from statistics: the plateau's accuracy is below (study phases)
LITTLE, MUCH = 0.2, 0.9
# The study's numbers at 64,000 people, digitised, and how far a mean may be from them.
PUBLISHED = {keys.MAX_PROBABILITY: (0.79, 0.1), keys.ENTROPY: (0.75, 0.25)}
_NOT_KNOWN = f"{MUCH:.0%} of the values of seen people are never known"


def _grid(scale: str) -> list[GridRun]:
    size = _SIZES[scale]
    seeds = seeds_for(size, 3 * _SEEDS)[2 * _SEEDS :]  # the curves of the first, and of phases, have been looked at
    settings = (f"population.size={size}", *_SETTINGS[scale])
    return [GridRun((*settings, f"seed={seed}"), _LIKELY_STEPS[scale], {"arm": ARM}) for seed in seeds]


def _known_at(run: Run, level: float) -> float | None:
    accuracy = run.curve(keys.ATTRIBUTE_ACCURACY)
    return steps_to_accuracy(accuracy.index.to_numpy(), accuracy.to_numpy(), level)


def of_known(run: Run, measure: str, level: float, cohort: str = keys.UNSEEN) -> float | None:
    """A measure of a cohort where ``level`` of the values of seen people are first known; None if they never are."""
    step = _known_at(run, level)
    if step is None or not run.has_curve(measure, cohort):
        return None
    curve = run.curve(measure, cohort)
    at = curve.index.searchsorted(step)
    if at == 0:
        return float(curve.iloc[0])
    low, high = curve.index[at - 1], curve.index[min(at, len(curve) - 1)]
    share = (step - low) / (high - low) if high > low else 0.0
    return float((1 - share) * curve.loc[low] + share * curve.loc[high])


def regret(run: Run, level: float, cohort: str = keys.UNSEEN) -> float | None:
    """The loss on people never seen minus the baseline, in nats, where so many values of seen people are known."""
    loss = of_known(run, keys.ATTRIBUTE_LOSS, level, cohort)
    return None if loss is None else loss - run.baseline


def departure_from_emergence(run: Run) -> float | None:
    """When the loss on unseen people leaves the baseline for good, in units of the emergence of knowledge.

    0 is the step at which ``START`` of the values of seen people are known, and 1 that at which ``MUCH`` are. None if
    the loss does not leave the baseline, or so many are never known.
    """
    unseen = run.curve(keys.ATTRIBUTE_LOSS, keys.UNSEEN)
    left = departure(unseen.index.to_numpy(), unseen.to_numpy(), run.baseline)
    start, end = _known_at(run, START), _known_at(run, MUCH)
    if left is None or start is None or end is None or end <= start:
        return None
    return float((left - start) / (end - start))


def _finally(run: Run, measure: str, cohort: str) -> float | None:
    """A measure of a cohort at the last evaluation; None where too little is known at the end to speak of it."""
    if _known_at(run, MUCH) is None:
        return None
    return float(run.curve(measure, cohort).iloc[-1])


def _more_than(measure: str, cohort: str, other: str) -> Measure:
    def difference(run: Run) -> float | None:
        ours, theirs = _finally(run, measure, cohort), _finally(run, measure, other)
        return None if ours is None or theirs is None else ours - theirs

    return difference


def _growth(run: Run) -> float | None:
    little, much = regret(run, LITTLE), regret(run, MUCH)
    return None if little is None or much is None else much - little


def _parts_apart(run: Run) -> float | None:
    ours, theirs = regret(run, MUCH), regret(run, MUCH, UNSEEN_PARTS)
    return None if ours is None or theirs is None else ours - theirs


_COLUMNS: dict[str, Measure] = {
    "leaves the baseline (in units of emergence)": departure_from_emergence,
    f"regret at {LITTLE:.0%} known": lambda run: regret(run, LITTLE),
    f"regret at {MUCH:.0%} known": lambda run: regret(run, MUCH),
    "final loss on unseen over baseline": lambda run: (
        float(run.curve(keys.ATTRIBUTE_LOSS, keys.UNSEEN).iloc[-1]) / run.baseline
    ),
    "max probability, unseen": lambda run: float(run.curve(keys.MAX_PROBABILITY, keys.UNSEEN).iloc[-1]),
    "max probability, seen": lambda run: float(run.curve(keys.MAX_PROBABILITY, keys.SEEN).iloc[-1]),
    "entropy, unseen": lambda run: float(run.curve(keys.ENTROPY, keys.UNSEEN).iloc[-1]),
    "entropy, seen": lambda run: float(run.curve(keys.ENTROPY, keys.SEEN).iloc[-1]),
    f"regret at {MUCH:.0%} known, unseen parts": lambda run: regret(run, MUCH, UNSEEN_PARTS),
}


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Measure the loss and the certainty on people never seen, as knowledge of others grows."""
    arms = ByArm.of_runs(runs)
    note = (
        "Means over seeds with 95% intervals. Regret: the loss on people never seen minus the no-knowledge baseline, "
        "in nats. Emergence begins with 5% and ends with 90% of the values of seen people known."
    )
    table, values = arms.table("People never seen", _COLUMNS, note)
    figures = {}
    if runs:
        group = Group("", [run.record for run in runs])
        cohorts = [cohort for cohort in (keys.UNSEEN, UNSEEN_PARTS) if cohort in group.runs[0].cohorts]
        lines = [
            Series(
                people_of(cohort),
                {level: [regret(run, level, cohort) for run in group.runs] for level in LEVELS},
            )
            for cohort in cohorts
        ]
        figures = {
            "seen_and_unseen_loss": ("Loss on seen and unseen people.", partial(seen_and_unseen_loss, [group])),
            "confidence_and_entropy": (
                "Largest probability and entropy on the tokens of values.",
                partial(confidence_and_entropy, [group]),
            ),
            "regret": (
                "Regret (loss on people never seen minus the baseline) where so many values of seen people are known.",
                partial(compare_over, {"": {"regret (nats)": lines}}, "values of seen people known", logarithmic=False),
            ),
        }
    return Findings({"arms": values}, [table], figures, arms)


def inside(low: float, high: float) -> Callable[..., Verdict]:
    """``verdict.within`` with these limits, called like ``verdict.above``; its bound means nothing."""

    def decide(value: float, interval: Interval | None, bound: float, count: int | None = None) -> Verdict:
        return within(value, interval, low, high, count)

    return decide


_OTHER = {"above": "below", "below": "above"}


def _claim(
    text: str,
    published: str,
    what: str,
    measure: Measure,
    decide: Callable[..., Verdict],
    side: str,
    bound: float = 0.0,
    *,
    unit: Unit,
) -> Claim:
    where = f"{side} {bound:g}" if side in _OTHER else side
    rule = (
        f"{what}, the mean over seeds. Holds if its 95% interval lies {where}; does not hold if it lies "
        f"{_OTHER.get(side, 'outside')}; cannot tell otherwise, or if in some run {_NOT_KNOWN}."
    )
    return Claim(
        text, published, rule, lambda arms: arms.mean_verdict(ARM, measure, decide, bound, _NOT_KNOWN), unit=unit
    )


def _departure_verdict(arms: ByArm) -> Verdict:
    why = f"the loss on unseen people does not leave the baseline, or {_NOT_KNOWN}"
    return arms.mean_verdict(ARM, departure_from_emergence, inside(0.0, 1.0), 0.0, why)


_SAME = "no number published"
_NATS, _PROBABILITY = Unit(NUMBER, "nats of loss on unseen people"), Unit(SHARE, "as largest probability")
_CLAIMS = (
    Claim(
        "The loss on people never seen leaves the baseline as knowledge emerges, not before",
        "rises as soon as knowledge emerges; no number published",
        "The step at which the loss on unseen people rises for good above 1.1 times the baseline, on a scale on which "
        f"0 is the step where {START:.0%} of the values of seen people are known and 1 the one where {MUCH:.0%} are. "
        "Holds if the 95% interval of its mean over seeds lies inside [0, 1]; does not hold if it lies outside; cannot "
        f"tell otherwise, or if in some run the loss does not leave the baseline or {_NOT_KNOWN}.",
        _departure_verdict,
        unit=Unit(NUMBER, "of the way from some knowledge to much"),
    ),
    _claim(
        "The more is known of seen people, the higher the loss on people never seen",
        "from the baseline, 6.78, to about 16.0",
        f"Loss on unseen people where {MUCH:.0%} of the values of seen people are known, minus where {LITTLE:.0%} are",
        _growth,
        above,
        "above",
        unit=_NATS,
    ),
    _claim(
        "In the end the model is on average more certain than not about people it never saw",
        "largest probability 0.79",
        "Largest probability on the value tokens of unseen people at the last evaluation",
        lambda run: _finally(run, keys.MAX_PROBABILITY, keys.UNSEEN),
        above,
        "above",
        0.5,
        unit=_PROBABILITY,
    ),
    _claim(
        "In the end the model is less certain about people it never saw than about those it saw",
        "largest probability 0.79 against nearly 1",
        "Largest probability at the last evaluation, unseen minus seen people",
        _more_than(keys.MAX_PROBABILITY, keys.UNSEEN, keys.SEEN),
        below,
        "below",
        unit=Unit(POINTS, "of probability"),
    ),
    _claim(
        "In the end the entropy about people never seen is higher than about those that were",
        "0.75 against 0.03 nats",
        "Entropy on value tokens at the last evaluation, unseen minus seen people",
        _more_than(keys.ENTROPY, keys.UNSEEN, keys.SEEN),
        above,
        "above",
        unit=Unit(NUMBER, "nats of entropy"),
    ),
)


def _as_published(measure: str, words: str, after: str, unit: Unit) -> Claim:
    value, tolerance = PUBLISHED[measure]
    return _claim(
        f"The {words} about people never seen ends near the published one",
        f"{value}{after}",
        f"The {words} on the value tokens of unseen people at the last evaluation",
        lambda run: _finally(run, measure, keys.UNSEEN),
        inside(value - tolerance, value + tolerance),
        f"inside {value} ± {tolerance}",
        unit=unit,
    )


_LAPTOP = (
    _claim(
        "New combinations of known name parts raise the loss more than names of parts never seen",
        "none published",
        f"Loss where {MUCH:.0%} of the values of seen people are known, unseen people minus people with unseen parts",
        _parts_apart,
        above,
        "above",
        unit=_NATS,
    ),
)
_PAPER = (
    _as_published(keys.MAX_PROBABILITY, "largest probability", "", _PROBABILITY),
    _as_published(keys.ENTROPY, "entropy", " nats", Unit(NUMBER, "nats")),
)

STUDY = Study(
    name="hallucination",
    title="What does a model say about people it never saw, while it learns others?",
    figure="Figure 5, left, and Figure M",
    grids={scale: _grid(scale) for scale in _SIZES},
    claims={"laptop": (*_CLAIMS, *_LAPTOP), "paper": (*_CLAIMS, *_PAPER)},
    examine=examine,
)
