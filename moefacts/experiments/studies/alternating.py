"""Figures W and X: training alternates between two groups of people. How are they forgotten and learned again?"""

import math
from collections.abc import Callable, Sequence
from functools import partial

from moefacts.analysis.comparison import Value, paired_difference
from moefacts.analysis.phases import steps_to_accuracy
from moefacts.analysis.summary import estimate
from moefacts.analysis.table import Table
from moefacts.analysis.unit import POINTS, Unit
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above, below
from moefacts.experiments.studies._arms import arm_runs, sampling
from moefacts.experiments.studies._paired import decide_paired, log_ratio
from moefacts.experiments.studies._units import LEARNING_RATIO
from moefacts.experiments.studies._unseen import UNSEEN_RARELY
from moefacts.experiments.studies.sequential.sequential_figures import groups_in_turn
from moefacts.experiments.studies.sequential.visits import (
    FORGOTTEN,
    LEARNED,
    Visit,
    forgetting_and_learning,
    part,
    visits,
)
from moefacts.runs import keys
from moefacts.runs.reader import Run

REPEATS = (2, 4, 8)
_GROUPS = 2
_SEEDS = {"laptop": 5, "paper": 1}
_SETTINGS = {
    # As many plateau ends of everybody as the study's 16,000 steps are; seven evaluations or more in every turn.
    "laptop": (1024, ("training.steps=2400", "evaluation.interval=20", "evaluation.interval_after_plateau=20")),
    "paper": (64000, ("evaluation.interval_after_plateau=25",)),
}

_Key = tuple[str, int]  # arm, seed
_Measure = Callable[[Run], tuple[Value, Value] | None]


def _grid(scale: str) -> list[GridRun]:
    size, common = _SETTINGS[scale]
    arms = {f"{repeats} visits": sampling("sequential", num_groups=_GROUPS, num_repeats=repeats) for repeats in REPEATS}
    return arm_runs(scale, arms, size, _SEEDS[scale], *common, UNSEEN_RARELY)


def learned_again(run: Run) -> tuple[float, Value] | None:
    """Turns in which the second group comes to ``FORGOTTEN`` of what its first one reaches: in that turn, in the next.

    Its first turn comes after the other group's, so that what is learned about biographies as such is learned already.
    The second number is 0 if nothing had to be learned again, and it has only the bound 1 if one turn is not enough.
    None if less than ``LEARNED`` is reached in the first turn.
    """
    group = 1
    first = visits(run)[group][0]
    if first.learning is None:
        return None
    accuracy = run.curve(keys.ATTRIBUTE_ACCURACY, bucket=f"group_{group}")
    turn = _turn(run)
    begin = turn * (_GROUPS + group)
    curve = part(accuracy.index.to_numpy(), accuracy.to_numpy(), begin, begin + turn)
    again = steps_to_accuracy(*curve, FORGOTTEN * first.reached)
    return first.learning / turn, (1.0, math.inf) if again is None else (again - begin) / turn


def _turn(run: Run) -> float:
    sampling = run.settings.sampling
    assert sampling.num_repeats is not None
    return run.settings.training.steps / (_GROUPS * sampling.num_repeats)


def share_kept(run: Run) -> tuple[float, float] | None:
    """The share of its accuracy that the first group keeps while it is not shown: in its first and in its last absence.

    The first absence is the one after the first turn that reached ``LEARNED``. The last one ends with training. None if
    there are not two.
    """
    turns = [visit for visit in visits(run)[0] if visit.reached >= LEARNED]
    return (turns[0].last / turns[0].reached, turns[-1].last / turns[-1].reached) if len(turns) > 1 else None


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Measure every turn of both groups, and prepare the curves of the first seed."""
    rows, panels = [], {}
    for arm in dict.fromkeys(run.labels["arm"] for run in runs):
        members = [run.record for run in runs if run.labels["arm"] == arm]
        panels[f"{arm} to each group, of {_turn(members[0]):g} steps"] = members[0]
        found = [visits(run) for run in members]
        for number in range(len(found[0][0])):
            for group in range(_GROUPS):
                measured = [
                    [getattr(turns[group][number], name) for turns in found] for name in Visit.__dataclass_fields__
                ]
                means = [estimate(values) for values in measured]
                cells = ("–" if mean is None else mean.text() for mean in means)
                rows.append([arm, str(number + 1), str(group + 1), *cells])
    columns = ["arm", "visit", "group", "known at its end", "gained in it", "steps to half of it"]
    columns += ["steps until half is forgotten", "known when the next begins"]
    note = (
        f"Steps are given for visits at whose end at least {LEARNED:.0%} was known; 0 means that half of that was "
        "known when the visit began. What is not forgotten when the next visit begins counts with the steps until then."
    )
    table = Table("Two groups in turn", columns, rows, note)
    caption = "Share of values known of both groups, first seed. A band of a group's colour marks its turns."
    values = {"visits": [[[vars(v) for v in turns] for turns in visits(run.record)] for run in runs]}
    return Findings(values, [table], {"groups": (caption, partial(groups_in_turn, panels))} if runs else {}, runs)


def _both(runs: Sequence[FinishedRun], measure: _Measure) -> tuple[dict[_Key, Value], dict[_Key, Value]]:
    """(arm, seed) -> the first and the second value of a measure; None for a run that lacks it."""
    found = {(run.labels["arm"], run.seed): measure(run.record) or (None, None) for run in runs}
    return {key: one for key, (one, _) in found.items()}, {key: other for key, (_, other) in found.items()}


def _forgets_faster(runs: Sequence[FinishedRun]) -> Verdict:
    forgetting, learning = _both(runs, forgetting_and_learning)
    return decide_paired(paired_difference(forgetting, learning, log_ratio), partial(below, bound=0.0))


def _learns_again_faster(runs: Sequence[FinishedRun]) -> Verdict:
    first, again = _both(runs, learned_again)
    return decide_paired(paired_difference(again, first), partial(below, bound=0.0))


def _keeps_more(runs: Sequence[FinishedRun]) -> Verdict:
    first, last = _both(runs, share_kept)
    return decide_paired(paired_difference(last, first), partial(above, bound=0.0))


_BELOW = "Holds if its 95% interval lies below 0; does not hold if it lies above; cannot tell otherwise."
_ABOVE = "Holds if its 95% interval lies above 0; does not hold if it lies below; cannot tell otherwise."
_CLAIMS = (
    Claim(
        "Forgetting is faster than learning",
        "no number published",
        f"Log ratio of the steps in which a group loses {FORGOTTEN:.0%} of what was known at the end of a visit, to "
        f"the steps in which the visit brought it there, averaged over visits at whose end at least {LEARNED:.0%} was "
        "known and at whose beginning less than half of that was, then over runs. What is not forgotten when the next "
        "visit begins counts with the steps until then if they are more than its learning took, and not at all "
        "otherwise. " + _BELOW,
        _forgets_faster,
        unit=LEARNING_RATIO,
    ),
    Claim(
        "What was forgotten is learned again faster than it was learned",
        "later visits learn faster; no number published",
        f"Steps until {FORGOTTEN:.0%} of what the second group's first visit reached is known in its second visit, "
        "minus the same in the first, over the visit's length, averaged over runs in whose first visit at least "
        f"{LEARNED:.0%} was reached. " + _BELOW,
        _learns_again_faster,
        unit=Unit(POINTS, "of the visit's length"),
    ),
    Claim(
        "A group that comes back keeps more through its last absence than through its first",
        "not in the paper",
        "Share of the first group's accuracy that is left when it is shown again, or when training ends: last absence "
        f"minus first after a visit at whose end at least {LEARNED:.0%} was known, averaged over runs with two. "
        + _ABOVE,
        _keeps_more,
        unit=Unit(POINTS, "of the group's accuracy"),
    ),
)

STUDY = Study(
    name="alternating",
    title="When training alternates between two groups, how are they forgotten and learned again?",
    figure="Figures W and X",
    grids={scale: _grid(scale) for scale in _SETTINGS},
    claims=dict.fromkeys(_SETTINGS, _CLAIMS),
    examine=examine,
)
