"""What the patching study concludes from runs with known curves. References are trained before their twins."""

import pytest
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.config.presets import compose
from moefacts.experiments.engine.study import Findings, GridRun, Study
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies import catalog
from moefacts.experiments.studies.patching.patching import OWN, STUDY, examine, from_step, frozen_at
from tests.experiments.engine.tiny_study import TINY_RUN
from tests.experiments.studies.made_up import made_up_run, replicate

LAST = 1000
# Arm -> (plateau start, plateau end), as the study describes. The later the end, the higher the last loss.
SHOWN = {OWN: (200, 400), "untrained attention": (200, 600), from_step(1000): (120, 145)}
SHOWN |= {from_step(step): (200, leaves) for step, leaves in ((60, 800), (120, 900), (240, 300), (500, 150))}
SHOWN |= {frozen_at(step): (200, 380) for step in (120, 240, 500)}


def made_up_runs(curves):
    runs = []
    for grid_run in STUDY.grids["laptop"]:
        start, leaves = curves[grid_run.labels["arm"]]
        leaves += 5 * replicate(grid_run)
        runs.append(made_up_run(grid_run, leaves, start=start, slope=0.005, last=LAST))
    return runs


def verdicts(curves):
    evidence = examine(made_up_runs(curves)).evidence
    return [claim.decide(evidence).answer for claim in STUDY.claims["laptop"]]


def test_what_the_study_describes_holds():
    assert verdicts(SHOWN) == [HOLDS] * 4


def test_the_figure_has_the_arms_in_order_and_needs_the_run_itself():
    runs = made_up_runs(SHOWN)
    _, draw = examine(runs).figures["patching"]
    labels = [[line.get_label() for line in axes.lines if line.get_linewidth() > 1.5] for axes in draw().axes]
    throughout = ["untrained attention", *(from_step(step) for step in (60, 120, 240, 500, 1000)), OWN]
    assert labels == [throughout, [*(frozen_at(step) for step in (120, 240, 500)), OWN]]
    assert examine([run for run in runs if run.labels["arm"] != OWN]).figures == {}
    assert examine([run for run in runs if run.labels["arm"] == OWN]).figures == {}
    _, draw = examine([run for run in runs if run.labels["arm"] in (OWN, from_step(60))]).figures["patching"]
    assert len(draw().axes) == 1


@pytest.mark.parametrize(
    ("arm", "curve", "expected"),
    [
        (from_step(1000), (200, 500), [DOES_NOT_HOLD, DOES_NOT_HOLD, HOLDS, HOLDS]),
        (from_step(1000), (120, 380), [HOLDS, DOES_NOT_HOLD, HOLDS, HOLDS]),
        (from_step(1000), (200, 5000), [CANNOT_TELL, DOES_NOT_HOLD, HOLDS, HOLDS]),
        (from_step(60), (200, 500), [HOLDS, HOLDS, DOES_NOT_HOLD, HOLDS]),
        (from_step(120), (200, 500), [HOLDS, HOLDS, HOLDS, DOES_NOT_HOLD]),
    ],
)
def test_claims_fall_when_their_arm_goes_the_other_way(arm, curve, expected):
    assert verdicts(SHOWN | {arm: curve}) == expected


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_every_reference_is_a_checkpoint_of_the_run_with_its_own_attention(scale):
    from moefacts.runs.location import run_directory
    from moefacts.training.checkpoint import checkpoint_schedule
    from moefacts.training.patching import reference_config

    own = {}
    for grid_run in STUDY.grids[scale]:
        config = compose([f"scale={scale}", *grid_run.overrides])
        if grid_run.labels["arm"] == OWN:
            own[run_directory(config)] = checkpoint_schedule(config.checkpoints, config.training.steps)
    for grid_run in STUDY.grids[scale]:
        config = compose([f"scale={scale}", *grid_run.overrides])
        if config.patching.is_on:
            assert config.patching.reference_step in own[run_directory(reference_config(config))]


def test_references_are_trained_before_the_runs_that_need_them(tmp_path, monkeypatch):
    own = GridRun(TINY_RUN, labels={"arm": "own"})
    grid = [GridRun((*TINY_RUN, "patching.reference_step=4"), labels={"arm": "twin"}, needs=(own,)), own]
    study = Study("tiny-twins", "a run and its twin", "none", {"laptop": grid}, {"laptop": ()}, _nothing)
    monkeypatch.setattr(catalog, "STUDIES", {**catalog.STUDIES, study.name: study})
    given = ["reproduce", study.name, "--launcher", "basic", "--out", str(tmp_path / "out")]
    dry = CliRunner().invoke(cli.app, [*given, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    result = CliRunner().invoke(cli.app, given)
    assert result.exit_code == 0, (result.output, result.exception)


def _nothing(runs):
    return Findings({}, [], {}, runs)
