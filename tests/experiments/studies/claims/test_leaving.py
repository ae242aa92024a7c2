"""The claims about people who are no longer shown, in every scenario."""

import numpy as np
import pandas as pd
import pytest

from moefacts.config.presets import compose
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.leaving import STUDY
from moefacts.experiments.studies.leaving.grid import LARGER, LEAVING, SIZE, SLOWER, STAYING, USUAL, WIDER
from moefacts.runs import keys
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run, replicate
from tests.experiments.studies.reading import cells

AGREES, ALIKE, *MORE = texts(STUDY)
PEOPLE = np.arange(150)


def runs(fitted=None, true=lambda size: 60.0, forgets=True, scatter=0.02, seeds=3, others=2.0):
    """Runs whose time scales are ``true`` and, by the fit, ``fitted`` (functions of the number of people).

    That of all other settings is ``others`` times as long, in revisit intervals. Seeds are ``scatter`` apart in logs;
    the fit's and those of other settings in other directions.
    """
    made = []
    for grid_run in STUDY.grids["laptop"]:
        size, number = grid_run.labels["size"], replicate(grid_run)
        if number >= seeds:
            continue
        settings, batch = grid_run.labels["settings"], 64 if grid_run.labels["settings"] == LARGER else 32
        place = size / 700 + [USUAL, WIDER, SLOWER, LARGER].index(settings) / 4
        moved, factor = scatter * np.cos(2 * np.pi * (number / 3 + place)), 1 if settings == USUAL else others
        if grid_run.labels["arm"] == STAYING:
            run = made_up_run(grid_run, 300.0)
            run.record.manifest["plateau_end"] = run.measures["plateau_end"]
            scale = (fitted or true)(size) * np.exp(-moved)
            run.record.__dict__["retention_at_end"] = table(run.measures["plateau_end"], scale)
        else:
            ends = type(grid_run)((*grid_run.overrides, *grid_run.settings_from.at(300)), None, grid_run.labels)
            scale = factor * true(size) * 32 / batch * np.exp(moved) if forgets else np.inf
            run = made_up_run(
                ends, 300.0, last=300 + 6 * size // batch, extra=lambda step, scale=scale: known(step, scale)
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
    Case(HOLDS, runs, [AGREES, ALIKE, *MORE]),
    Case(DOES_NOT_HOLD, lambda: runs(true=grows, fitted=lambda size: 5 * grows(size)), [AGREES, ALIKE]),
    Case(DOES_NOT_HOLD, lambda: runs(others=0.5), MORE),
    Case(TOO_SHORT, lambda: runs(forgets=False), [ALIKE], "in 12 of 12 runs the people who left are not forgotten"),
    Case(TOO_SHORT, lambda: [r for r in runs() if r.labels["arm"] == LEAVING], [AGREES], "no pair of runs"),
    Case(TOO_SHORT, lambda: [r for r in runs() if r.labels["arm"] == STAYING], MORE, "no pair of runs"),
    Case(DOES_NOT_HOLD, lambda: runs(forgets=False), [AGREES]),
    Case(TOO_NOISY, lambda: runs(true=lambda size: 60 * (size / 700) ** 0.25, scatter=0.5), [AGREES, ALIKE]),
    Case(TOO_NOISY, lambda: runs(others=1.1, scatter=0.5), MORE),
    Case(TOO_NOISY, lambda: runs(seeds=1), MORE, "too few seeds"),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)


def test_whoever_leaves_does_so_where_the_plateau_of_the_run_of_the_same_seed_ended():
    leaving = [run for run in STUDY.grids["laptop"] if run.labels["arm"] == LEAVING]
    assert len(leaving) == 21
    for run in leaving:
        (needed,) = run.needs
        assert needed in STUDY.grids["laptop"]
        end = made_up_run(needed, 13 * run.labels["size"] / 32)
        assert f"sampling.leaving_step={end.measures['plateau_end']}" in run.settings_from([end.record])


def test_every_setting_differs_from_the_usual_one_in_one_thing_and_people_leave_for_six_revisit_intervals():
    configs = {
        (run.labels["settings"], int(seed)): compose([*run.overrides, *run.settings_from.at(300)])
        for run in STUDY.grids["laptop"]
        if (run.labels["arm"], run.labels["size"]) == (LEAVING, SIZE)
        for seed in [next(one for one in run.overrides if one.startswith("seed="))[5:]]
    }
    assert len(configs) == 12
    expected = {
        WIDER: {"d_model": 128, "d_head": 32, "d_hidden": 512},
        SLOWER: {"learning_rate": 1.5e-3},
        LARGER: {"batch_size": 64},
        USUAL: {},
    }
    for (settings, seed), config in configs.items():
        usual = configs[USUAL, seed]
        ours = vars(config.model) | vars(config.training)
        theirs = vars(usual.model) | vars(usual.training)
        changed = {key: ours[key] for key in ours if ours[key] != theirs[key]}
        steps = changed.pop("steps", config.training.steps)
        assert changed == expected[settings]
        assert (config.population, config.sampling) == (usual.population, usual.sampling)
        assert steps == 300 + 6 * SIZE / config.training.batch_size


def test_the_page_has_the_shares_that_are_kept_by_settings():
    findings = STUDY.examine(runs(scatter=0.0))
    sizes, settings = map(cells, findings.tables)
    assert [row["people"] for row in sizes] == ["256", "512", "1,024", "2,048"]
    assert [row["settings"] for row in settings] == [USUAL, WIDER, SLOWER, LARGER]
    assert [row["revisit interval N/B (steps)"] for row in settings] == ["32", "32", "32", "16"]
    kept = [row["share"]["mean"] for row in findings.values["settings"]]  # evaluations are 40, 30, 50, 25 steps apart
    assert kept == pytest.approx(np.exp([-160 / 60, -180 / 120, -150 / 120, -75 / 60]))
    panels = {name: [axes.get_title() for axes in draw().axes] for name, (_, draw) in findings.figures.items()}
    assert panels["leaving"] == ["256 people", "512 people", "1,024 people", "2,048 people"]
    assert panels["settings"] == [USUAL, WIDER, SLOWER, LARGER]
    assert STUDY.examine([]).figures == {}
