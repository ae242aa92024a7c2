"""Figures S to V: training shows groups of people one after the other. How are they learned and forgotten?"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from moefacts.analysis.comparison import paired_difference
from moefacts.analysis.summary import estimate
from moefacts.analysis.table import Table
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above, below
from moefacts.experiments.studies._arms import arm_runs, sampling
from moefacts.experiments.studies._paired import decide_paired, log_ratio
from moefacts.experiments.studies._units import ACCURACY_POINTS, LEARNING_RATIO
from moefacts.experiments.studies._unseen import UNSEEN_RARELY
from moefacts.experiments.studies.sequential.sequential_figures import groups_in_turn
from moefacts.experiments.studies.sequential.visits import (
    FORGOTTEN,
    LEARNED,
    Visit,
    forgetting_and_learning,
    visits,
)

GROUPS = (4, 8, 16)
_SEEDS = {"laptop": 3, "paper": 1}
_SETTINGS = {
    # Evaluations stay frequent, because they time learning and forgetting.
    "laptop": (1024, ("training.steps=1600", "evaluation.interval=25", "evaluation.interval_after_plateau=25")),
    "paper": (64000, ("evaluation.interval_after_plateau=25",)),
}


def _grid(scale: str) -> list[GridRun]:
    size, common = _SETTINGS[scale]
    arms = {f"{groups} groups": sampling("sequential", num_groups=groups, num_repeats=1) for groups in GROUPS}
    runs = arm_runs(scale, arms, size, _SEEDS[scale], *common, UNSEEN_RARELY)
    return [GridRun(r.overrides, labels={**r.labels, "groups": int(r.labels["arm"].split()[0])}) for r in runs]


def _turns(run: FinishedRun) -> list[Visit]:
    """The only turn of every group."""
    return [visit for (visit,) in visits(run.record)]


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Measure learning and forgetting of every group, and prepare the curves of the first seed."""
    rows, panels = [], {}
    for groups in sorted({run.labels["groups"] for run in runs}):
        members = [run for run in runs if run.labels["groups"] == groups]
        panels[f"{groups} groups"] = members[0].record
        turns = [_turns(run) for run in members]
        for group in range(groups):
            measured = [[getattr(turn[group], name) for turn in turns] for name in Visit.__dataclass_fields__]
            means = [estimate(values) for values in measured]
            rows.append([str(groups), str(group + 1), *("–" if mean is None else mean.text() for mean in means)])
    columns = [
        "groups",
        "turn",
        "known at the end of its turn",
        "gained in it",
        "steps to half of it",
        "steps until half is forgotten",
    ]
    note = (
        f"Steps are given for groups of which at least {LEARNED:.0%} was known at the end of their turn. The last "
        "group has no time to be forgotten. A group that was not forgotten counts with the steps until training ended."
    )
    table = Table("Groups in turn", [*columns, "known at the end of training"], rows, note)
    caption = "Share of values known of every group, first seed. A band of a group's colour marks its turn."
    figures = {"groups": (caption, partial(groups_in_turn, panels))}
    return Findings({"visits": [[vars(v) for v in _turns(run)] for run in runs]}, [table], figures, runs)


def _easier(runs: Sequence[FinishedRun]) -> Verdict:
    """Decide from the accuracy gained per turn, second half of the groups minus first, in runs that learned a group."""
    first: dict[tuple[int, int], float | None] = {}
    second: dict[tuple[int, int], float | None] = {}
    for run in runs:
        gained = [visit.gained for visit in _turns(run)]
        key, middle = (run.labels["groups"], run.seed), len(gained) // 2
        halves = [float(np.mean(half)) for half in (gained[:middle], gained[middle:])]
        first[key], second[key] = halves if max(gained) >= LEARNED else (None, None)
    return decide_paired(paired_difference(second, first), partial(above, bound=0.0))


def _forgets_faster(runs: Sequence[FinishedRun]) -> Verdict:
    """Decide from the log ratio of forgetting steps to learning steps, averaged over a run's groups that have both."""
    forgetting: dict[tuple[int, int], float | None] = {}
    learning: dict[tuple[int, int], float | None] = {}
    for run in runs:
        key = (run.labels["groups"], run.seed)
        forgetting[key], learning[key] = forgetting_and_learning(run.record)
    return decide_paired(paired_difference(forgetting, learning, log_ratio), partial(below, bound=0.0))


_VERDICTS = "Holds if its 95% interval lies {0} 0; does not hold if it lies {1}; cannot tell otherwise."
_CLAIMS = (
    Claim(
        "Later groups are easier: more of them is learned in a turn of the same length",
        "no number published",
        "Mean accuracy that a group gains in its turn, second half of the groups minus first half, averaged over runs "
        f"in which some group gains at least {LEARNED:.0%}. " + _VERDICTS.format("above", "below"),
        _easier,
        unit=ACCURACY_POINTS,
    ),
    Claim(
        "Forgetting is faster than learning",
        "no number published",
        f"Log ratio of the steps in which a group loses {FORGOTTEN:.0%} of what was known at the end of its turn, to "
        f"the steps in which it gained as much, averaged over the groups of which at least {LEARNED:.0%} was known, "
        "then over runs. A group that is not forgotten when training ends counts with the steps until then if they are "
        "more than its learning took, and not at all otherwise. " + _VERDICTS.format("below", "above"),
        _forgets_faster,
        unit=LEARNING_RATIO,
    ),
)

STUDY = Study(
    name="sequential",
    title="When people come in groups, are new ones learned more easily, and how fast are old ones forgotten?",
    figure="Figures S–V",
    grids={scale: _grid(scale) for scale in _SETTINGS},
    claims=dict.fromkeys(_SETTINGS, _CLAIMS),
    examine=examine,
)
