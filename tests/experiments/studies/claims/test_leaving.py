"""The claims about people who are no longer shown, in every scenario."""

import numpy as np
import pandas as pd

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.leaving import LEAVING, STUDY, USUAL, FromPlateauEnd
from moefacts.runs import keys
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run, replicate

ALL = AGREES, ALIKE = texts(STUDY)
PEOPLE = np.arange(150)


def runs(fitted=None, true=lambda size: 60.0, forgets=True, scatter=0.02, seeds=3):
    """Runs whose time scales are ``true`` and, by the fit, ``fitted`` (functions of the number of people).

    Seeds are ``scatter`` apart in logs; the fit's in another direction.
    """
    made = []
    for grid_run in STUDY.grids["laptop"]:
        size, number = grid_run.labels["size"], replicate(grid_run)
        if number >= seeds:
            continue
        moved = scatter * np.cos(2 * np.pi * (number / 3 + size / 700))
        if grid_run.labels["arm"] == USUAL:
            run = made_up_run(grid_run, 300.0)
            run.record.manifest["plateau_end"] = run.measures["plateau_end"]
            scale = (fitted or true)(size) * np.exp(-moved)
            run.record.__dict__["retention_at_end"] = table(run.measures["plateau_end"], scale)
        else:
            overrides = (*grid_run.overrides, *FromPlateauEnd(size).at(300))
            ends = type(grid_run)(overrides, None, grid_run.labels)
            scale = true(size) * np.exp(moved) if forgets else np.inf
            run = made_up_run(
                ends, 300.0, last=300 + 6 * size // 32, extra=lambda step, scale=scale: known(step, scale)
            )
        made.append(run)
    return made


def known(step, scale):
    """The losses of an evaluation when those who left are forgotten on a time scale."""
    left = 0.3 * np.exp(-max(step - 300, 0) / scale)
    losses = {"unseen": 5.0, "seen/bucket/leaving": 5.0 - left, "seen/bucket/staying": 4.5}
    return {f"eval/{part}/attribute_loss": loss for part, loss in losses.items()}


def table(step, scale):
    """The probe's rows: knowledge of people fades from 0.1, with deviations that cancel out."""
    since = 2 * PEOPLE
    knowledge = 0.1 * np.exp(-since / scale) + 0.002 * (-1.0) ** PEOPLE
    columns = {"step": int(step), "individual": PEOPLE, "times_shown": 5 + PEOPLE % 7, "steps_since_shown": since}
    losses = {keys.ATTRIBUTE_LOSS: BASELINE * (1 - knowledge), keys.CONTROL_LOSS: BASELINE}
    return pd.DataFrame(columns | losses)


def grows(size):
    return 1.7 * size / 32


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(true=grows, fitted=lambda size: 5 * grows(size)), ALL),
    Case(TOO_SHORT, lambda: runs(forgets=False), [ALIKE], "in 12 of 12 runs the people who left are not forgotten"),
    Case(TOO_SHORT, lambda: [r for r in runs() if r.labels["arm"] == LEAVING], [AGREES], "no pair of runs"),
    Case(DOES_NOT_HOLD, lambda: runs(forgets=False), [AGREES]),
    Case(TOO_NOISY, lambda: runs(true=lambda size: 60 * (size / 700) ** 0.25, scatter=0.5), ALL),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)


def test_whoever_leaves_does_so_where_the_plateau_of_the_run_of_the_same_seed_ended():
    leaving = [run for run in STUDY.grids["laptop"] if run.labels["arm"] == LEAVING]
    for run in leaving:
        (needed,) = run.needs
        assert needed in STUDY.grids["laptop"]
        end = made_up_run(needed, 13 * run.labels["size"] / 32)
        assert f"sampling.leaving_step={end.measures['plateau_end']}" in run.settings_from([end.record])
