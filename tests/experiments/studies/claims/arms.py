"""Made-up runs of studies that compare arms."""

import numpy as np

from tests.experiments.studies.composing import parsed
from tests.experiments.studies.made_up import made_up_run, replicate

NEVER = 50.0  # times the steps of the run


def steps_of(grid_run):
    """The step limit of a run of a grid."""
    return next(parsed(one)[1] for one in grid_run.overrides if one.startswith("training.steps="))


def arm_runs(study, ends, usual=0.6, scatter=0.0, stands=None, share=1.0, seeds=3, **shape):
    """The runs of every arm at laptop scale.

    Args:
        study: the study.
        ends: arm -> where its plateau ends, as a share of the run's steps; ``usual`` for all other arms.
        scatter: how far ends differ between the three seeds of an arm, in logs. The arms' seeds differ in other
            directions, so that the differences between arms change their sign from seed to seed.
        stands: arm -> the loss on its plateau over the baseline, 1.03 for all others.
        share: the share of its steps after which a run was stopped.
        seeds: how many seeds each arm has.
        shape: how all runs look otherwise (``made_up_run``); functions are called with the run of the grid.
    """
    arms = list(dict.fromkeys(grid_run.labels["arm"] for grid_run in study.grids["laptop"]))
    runs = []
    for grid_run in study.grids["laptop"]:
        arm, number, steps = grid_run.labels["arm"], replicate(grid_run), steps_of(grid_run)
        moved = scatter * np.cos(2 * np.pi * (number / 3 + arms.index(arm) / len(arms)))
        leaves = ends.get(arm, usual) * steps * np.exp(moved) + 2 * number
        look = {"slope": 0.005, "last": int(share * steps), "plateau": (stands or {}).get(arm, 1.03) + 1e-4 * number}
        look |= {key: value(grid_run) if callable(value) else value for key, value in shape.items()}
        if number < seeds:
            runs.append(made_up_run(grid_run, leaves, **look))
    return runs
