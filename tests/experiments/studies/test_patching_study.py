"""What the patching study concludes from runs with known curves, and where its twins take their attention from."""

import json

import pytest
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.config.presets import compose
from moefacts.experiments.engine.study import Findings, GridRun, Study
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies import catalog
from moefacts.experiments.studies._moments import TOLERANCE, AttentionOf, plateau_ends
from moefacts.experiments.studies.patching.grids import MOMENTS, OWN, UNTRAINED, frozen, throughout
from moefacts.experiments.studies.patching.patching import AFTER, EARLY, STUDY, examine
from moefacts.training.checkpoint import checkpoint_schedule
from moefacts.training.patching import reference_config
from tests.experiments.engine.tiny_study import TINY_RUN
from tests.experiments.studies.made_up import BASELINE, made_up_run, replicate

LAST = 1000
# Arm -> (plateau start, plateau end), as the study describes. The later the end, the higher the last loss.
SHOWN = {OWN: (200, 400), UNTRAINED: (200, 600), AFTER: (240, 280), EARLY[0]: (200, 800), EARLY[1]: (200, 900)}
SHOWN |= {throughout(2000): (200, 300), throughout(4000): (200, 250)}
SHOWN |= {frozen(step): (200, 380) for step in (1000, 2000, 4000)}


def made_up_runs(curves, extra=None):
    runs = []
    for grid_run in STUDY.grids["laptop"]:
        start, leaves = curves[grid_run.labels["arm"]]
        leaves += 5 * replicate(grid_run)
        runs.append(made_up_run(grid_run, leaves, start=start, slope=0.005, last=LAST, extra=extra))
    return runs


def verdicts(curves):
    evidence = examine(made_up_runs(curves)).evidence
    return [claim.decide(evidence).answer for claim in STUDY.claims["laptop"]]


def test_what_the_study_describes_holds():
    assert verdicts(SHOWN) == [HOLDS] * 4


def controlled(step):
    return {"eval/seen/control_loss": 1.05 * BASELINE} if step % 100 == 0 else {}


def test_the_figure_has_the_arms_in_order_with_the_control_below_and_needs_the_run_itself():
    runs = made_up_runs(SHOWN, controlled)
    _, draw = examine(runs).figures["patching"]
    rows = draw().axes
    labels = [[line.get_label() for line in axes.lines if line.get_linewidth() > 1.5] for axes in rows]
    arms = [UNTRAINED, *(throughout(step) for step in (500, 1000, 2000, 4000, 8000)), OWN]
    assert labels == 2 * [arms, [*(frozen(step) for step in (1000, 2000, 4000)), OWN]]
    control = next(line for line in rows[2].lines if line.get_label() == OWN)
    assert set(control.get_ydata()) == {1.05 * BASELINE}
    assert list(control.get_xdata()) == list(range(0, 1001, 100))
    assert examine([run for run in runs if run.labels["arm"] != OWN]).figures == {}
    assert examine([run for run in runs if run.labels["arm"] == OWN]).figures == {}
    uncontrolled = [run for run in made_up_runs(SHOWN) if run.labels["arm"] in (OWN, UNTRAINED)]
    _, draw = examine(uncontrolled).figures["patching"]
    assert len(draw().axes) == 1


def test_the_tables_say_which_steps_lent_their_attention_and_what_the_control_loses():
    tables = {table.title: table for table in examine(made_up_runs(SHOWN, controlled)).tables}
    steps = {row[0]: row[1:] for row in tables["Moments whose attention is used"].rows}
    assert steps.keys() == SHOWN.keys() - {OWN, UNTRAINED}
    planned = round(MOMENTS[4000].step(230, 800))
    assert steps[frozen(4000)] == [
        "4,000",
        f"{planned:,}, {planned:,}, {planned:,}",
        "520 (100.0%)",
    ]  # here it is 1.3 × 400
    beside = tables["Loss beside the control"]
    own = dict(zip(beside.columns, next(row for row in beside.rows if row[0] == OWN), strict=True))
    assert own["final control loss (nats)"].startswith(f"{1.05 * BASELINE:.4g}")
    assert own["floor / baseline"].startswith("1.05")
    assert 380 < float(own["5% knowledge (step)"].split()[0]) < 420
    (without,) = (t for t in examine(made_up_runs(SHOWN)).tables if t.title == beside.title)
    assert {tuple(row[2:]) for row in without.rows} == {("not measured",) * 5}


@pytest.mark.parametrize(
    ("arm", "curve", "expected"),
    [
        (AFTER, (200, 500), [DOES_NOT_HOLD, DOES_NOT_HOLD, HOLDS, HOLDS]),
        (AFTER, (120, 380), [HOLDS, DOES_NOT_HOLD, HOLDS, HOLDS]),
        (AFTER, (200, 5000), [DOES_NOT_HOLD, DOES_NOT_HOLD, HOLDS, HOLDS]),
        (EARLY[0], (200, 500), [HOLDS, HOLDS, DOES_NOT_HOLD, HOLDS]),
        (EARLY[1], (200, 500), [HOLDS, HOLDS, HOLDS, DOES_NOT_HOLD]),
    ],
)
def test_claims_fall_when_their_arm_goes_the_other_way(arm, curve, expected):
    assert verdicts(SHOWN | {arm: curve}) == expected


PHASES = {"laptop": [(200, 700), (230, 800), (260, 880)], "paper": [(200, 2800), (300, 3085), (375, 3200)]}


@pytest.mark.parametrize("scale", PHASES)
def test_wherever_the_plateau_is_likely_to_be_every_moment_is_near_a_checkpoint(scale):
    first = next(run for run in STUDY.grids[scale] if run.labels["arm"] == OWN)
    config = compose([f"scale={scale}", *first.overrides])
    checkpoints = checkpoint_schedule(config.checkpoints, config.training.steps)
    moments = {run.settings_from.moment for run in STUDY.grids[scale] if run.settings_from}
    assert moments == {MOMENTS[step] for step in MOMENTS if scale == "paper" or step < 16000}
    for start, end in PHASES[scale]:
        for moment in moments:
            wanted = moment.step(start, end)
            assert min(abs(step - wanted) for step in checkpoints) <= TOLERANCE * max(wanted, end), (moment, start, end)


def test_moments_of_the_studys_own_plateau_are_its_steps():
    for step, moment in MOMENTS.items():
        starts = [moment.step(start, 3085) for start in (200, 375)]
        assert min(starts) <= 1.02 * step
        assert max(starts) >= 0.98 * step


@pytest.mark.parametrize("scale", PHASES)
def test_a_twin_is_the_run_that_it_needs_but_for_its_attention(scale):
    for run in STUDY.grids[scale]:
        config = compose([f"scale={scale}", *run.overrides])
        assert config.patching.is_on == (run.labels["arm"] != OWN)
        if config.patching.is_on:
            (own,) = run.needs
            assert reference_config(config) == compose([f"scale={scale}", *own.overrides])


def test_a_reference_without_a_plateau_leaves_its_twin_undecided_and_the_study_says_why(tmp_path, monkeypatch):
    own = GridRun(TINY_RUN, labels={"arm": "own"})
    planned = (*TINY_RUN, "patching.reference_step=4")
    twin = GridRun(planned, labels={"arm": "twin"}, needs=(own,), settings_from=AttentionOf(plateau_ends(1)))
    study = Study("tiny-twins", "a run and its twin", "none", {"laptop": [own, twin]}, {"laptop": ()}, _nothing)
    monkeypatch.setattr(catalog, "STUDIES", {**catalog.STUDIES, study.name: study})
    given = ["reproduce", study.name, "--launcher", "basic", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli.app, given)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (missing,) = json.loads((tmp_path / "out" / "results.json").read_text())["missing"]
    assert missing["state"].startswith("cannot be decided for arm twin: the reference has no plateau")
    again = CliRunner().invoke(cli.app, [*given, "--dry-run"])
    assert again.exit_code == 0, again.output
    assert "to train: 0 runs" in again.output


def _nothing(runs):
    return Findings({}, [], {}, runs)
