"""What comes first in training: attention inside names, attention to names, or the MLPs that know?

The runs are those of ``layers`` with four layers. A measure has emerged where it first passes half of its value at the
end, interpolated between checkpoints. What is lost by a knock-out or an ablation is a share of the probability, and so
grows as soon as there is something to lose. Such shares are compared with each other only: accuracy, which is no share
of it, stands beside them in the table, since it would come later whatever the mechanism.
"""

from collections.abc import Callable, Sequence
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from moefacts.analysis.mechanism import (
    BY_MLP,
    CUT_IN_NAME,
    CUT_TO_NAME,
    MLP_AT_VALUE,
    READ_AT_VALUE,
    Place,
)
from moefacts.analysis.phases import steps_to_accuracy
from moefacts.analysis.unit import NUMBER, Unit
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, below, cannot_tell
from moefacts.experiments.studies._by_arm import ByArm
from moefacts.experiments.studies._finetuned import PEOPLE
from moefacts.experiments.studies._paired import decide_paired
from moefacts.experiments.studies.layers import FOUR, deep_run
from moefacts.runs import keys
from moefacts.runs.reader import Run

_SEEDS = 5
_LEAST = 0.05  # what a measure must be at the end
NAME, TO_NAME, MLP, READ, MLP_READ, KNOWN = (
    "attention inside the name is needed",
    "attention to the name is needed",
    "the MLP before the value is needed",
    "the value is read in the last layer",
    "an MLP alone names the answer",
    "half of the accuracy",
)
# Name -> measure, and whether it is a loss of probability, which is summed over layers; else the best layer counts.
MEASURES: dict[str, tuple[Place, bool]] = {
    NAME: (CUT_IN_NAME, True),
    TO_NAME: (CUT_TO_NAME, True),
    MLP: (MLP_AT_VALUE, True),
    READ: (READ_AT_VALUE, False),
    MLP_READ: (BY_MLP, False),
}


def course(run: Run, name: str) -> pd.Series | None:
    """A measure at every checkpoint, indexed by step; None before the probe has run.

    A reading counts from what it is at the first checkpoint, which is chance: the best of several layers reads some
    values by guessing.
    """
    if run.emergence is None:
        return None
    place, is_loss = MEASURES[name]
    table = run.emergence.set_index(["measure", "variant", "place"]).sort_index()
    rows = table.loc[place]
    by_step = rows.groupby(["step", "layer"])["value"].mean().unstack("layer")
    if is_loss:
        return (-by_step).clip(lower=0).sum(axis=1)
    read = by_step.max(axis=1)
    return read - read.iloc[0]


def emerged(run: Run, name: str) -> float | None:
    """The step at which a measure passes half of its value at the end; None if that is less than ``_LEAST``."""
    if name == KNOWN:
        curve = run.curve(keys.ATTRIBUTE_ACCURACY)
    else:
        found = course(run, name)
        if found is None:
            return None
        curve = found
    end = float(curve.iloc[-1])
    if end < _LEAST:
        return None
    step = steps_to_accuracy(curve.index.to_numpy(), curve.to_numpy(), end / 2)
    return None if step is None else float(step)


def _grid() -> list[GridRun]:
    return [deep_run(seed, FOUR) for seed in seeds_for(PEOPLE["laptop"], _SEEDS)]


def _sooner(first: str, second: str, arms: ByArm) -> Verdict:
    runs = arms.runs.get(FOUR, {})
    found = {seed: (emerged(run, first), emerged(run, second)) for seed, run in runs.items()}
    if missing := [seed for seed, both in found.items() if None in both]:
        return cannot_tell(f"in {len(missing)} of {len(found)} runs one of them does not come to {_LEAST:.0%}")
    pairs = arms.within(FOUR, partial(emerged, name=first), partial(emerged, name=second))
    return decide_paired(pairs, partial(below, bound=0.0))


def _claim(first: str, second: str, published: str) -> Claim:
    return Claim(
        f"First {first}, then {second}",
        published,
        f"Step at which “{first}” passes half of its value at the end, minus that of “{second}”, of the same run. "
        "Holds if its 95% interval over seeds lies below 0; does not hold if it lies above; cannot tell otherwise, or "
        f"if in some run one of them is less than {_LEAST:.0%} at the end. Losses of probability are summed over "
        "layers; of readings, the best layer counts, less what it reads at the first checkpoint.",
        partial(_sooner, first, second),
        unit=Unit(NUMBER, "steps"),
    )


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """The steps at which everything emerges."""
    arms = ByArm.of_runs(runs)
    columns: dict[str, Callable[[Run], float | None]] = {
        name: partial(emerged, name=name) for name in (*MEASURES, KNOWN)
    }
    note = "Steps at which half of the value at the end is passed, between checkpoints. Means with 95% intervals."
    table, values = arms.table("When what emerges", columns, note)
    probed = [run.record for run in runs if run.record.emergence is not None]
    figures = {"emergence": (_CAPTION, partial(draw, probed))} if probed else {}
    return Findings({"arms": values}, [table], figures, arms)


_CAPTION = (
    "What emerges when: each measure over its value at the end, readings less what they are at first. Thin "
    "lines are single seeds. A measure that stays below 5% is left out."
)


def draw(runs: Sequence[Run]) -> Figure:
    """Draw the course of every measure over its value at the end."""
    figure, axes = plt.subplots()
    for index, name in enumerate(MEASURES):
        found = [one for run in runs if (one := course(run, name)) is not None]
        curves = [one / one.iloc[-1] for one in found]
        if min(one.iloc[-1] for one in found) < _LEAST:
            continue
        for curve in curves if len(curves) > 1 else []:
            axes.plot(curve.index, curve, color=f"C{index}", linewidth=0.6, alpha=0.4)
        mean = pd.concat(curves, axis=1, join="inner").mean(axis=1)
        axes.plot(mean.index, mean, color=f"C{index}", label=name)
    axes.axhline(0.5, color="black", linestyle="--", linewidth=0.8)
    axes.set_ylim(0, 1.3)
    axes.set_xlabel("training step")
    axes.set_ylabel("share of the value at the end")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


STUDY = Study(
    name="emergence",
    title="Which part of recall comes first in training?",
    figure="Figure 3, right, by interventions",
    grids={"laptop": _grid()},
    claims={
        "laptop": (
            _claim(NAME, MLP, "attention patterns form before knowledge"),
            _claim(TO_NAME, MLP, "attention patterns form before knowledge"),
            _claim(NAME, TO_NAME, "none published"),
        )
    },
    examine=examine,
    probes=("emergence",),
)
