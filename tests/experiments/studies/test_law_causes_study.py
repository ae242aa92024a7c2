"""The runs of law-causes differ in one thing, and its tables and figures show what was found."""

import numpy as np
import pytest

from moefacts.analysis.figures import draw_study_figures
from moefacts.experiments.studies.law_causes import STUDY
from moefacts.experiments.studies.law_causes.evidence import KNOWN, Evidence
from moefacts.experiments.studies.law_causes.grids import COSINE, FINISHED, SLOWER, USUAL, WIDER
from tests.experiments.studies.claims.test_law_causes import runs
from tests.experiments.studies.composing import fast_compose

GRID = STUDY.grids["laptop"]
# What may differ beside what a pair is about: how often a run is saved, and when it ends
_HOW_LONG = {"training.steps", "training.stop_after_plateau", "checkpoints.interval", "checkpoints.interval_until"}


def settings(arm, size=2048):
    run = next(run for run in GRID if (run.labels["arm"], run.labels["size"]) == (arm, size))
    return dict(override.split("=", 1) for override in run.overrides)


def difference(one, other, size=2048):
    ours, theirs = settings(one, size), settings(other, size)
    return {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)} - _HOW_LONG


@pytest.mark.parametrize(
    ("pairs", "keys"),
    [
        (((COSINE, USUAL),), {"training.schedule"}),
        (WIDER, {"model.d_model", "model.d_head", "model.d_hidden"}),
        (SLOWER, {"training.learning_rate"}),
        (((FINISHED, USUAL),), {"patching.reference_step"}),
    ],
)
def test_the_arms_of_a_pair_differ_in_one_thing_and_share_their_seeds(pairs, keys):
    for one, other in pairs:
        assert difference(one, other) == keys
        shared = set.intersection(
            *({run.labels["size"] for run in GRID if run.labels["arm"] == arm} for arm in (one, other))
        )
        for size in shared:
            seeds = [seeds_of(arm, size) for arm in (one, other)]
            assert seeds[0] == seeds[1]
            assert len(seeds[0]) >= 3


def seeds_of(arm, size):
    overrides = [override for run in GRID if run.labels == {"arm": arm, "size": size} for override in run.overrides]
    return {override for override in overrides if override.startswith("seed=")}


def test_a_wider_model_of_a_pair_is_twice_as_wide_with_as_many_heads():
    for pair in WIDER:
        wide, narrow = (fast_compose([f"{key}={value}" for key, value in settings(arm).items()]).model for arm in pair)
        assert (wide.d_model, wide.d_hidden, wide.d_head) == (
            2 * narrow.d_model,
            2 * narrow.d_hidden,
            2 * narrow.d_head,
        )
        assert wide.num_heads == narrow.num_heads


def test_a_twin_needs_the_usual_run_of_its_seed_which_saves_a_checkpoint_near_the_moment_of_its_attention():
    usual = [run for run in GRID if run.labels["arm"] == USUAL]
    twins = [run for run in GRID if run.labels["arm"] == FINISHED]
    assert len(twins) == len(usual) == 15
    assert [run.needs for run in twins] == [(run,) for run in usual]
    for run in usual:
        config = fast_compose(list(run.overrides))
        assert config.training.stop_after_plateau is None
        assert config.checkpoints.interval_until == config.training.steps
        assert config.checkpoints.interval < 0.05 * config.training.steps


def test_factors_are_those_of_the_runs_and_the_page_has_its_figures(tmp_path):
    findings = STUDY.examine(runs(cosine=(0.8, 1.2), finished=0.4, tilt=0.1))
    factors = {row[0]: row[1:] for row in findings.tables[0].rows}
    assert numbers(factors["twice the width"]) == pytest.approx([0.7, 0.7], rel=0.02)
    assert numbers(factors["a cosine for a constant rate"]) == pytest.approx([0.8, 1.2], rel=0.02)
    assert findings.values["laws"]["ratio"]["b"] == pytest.approx(0.1, abs=0.02)
    ends = findings.values["laws"]
    assert ends["finished"]["b"] - ends["own"]["b"] == pytest.approx(0.1, abs=0.02)
    assert ends["own_5_knowledge"]["b"] == pytest.approx(ends["own"]["b"], abs=0.02)
    assert ends["own_length"]["b"] > ends["own"]["b"] + 0.05  # the first phase takes 60 steps at every size
    arms = findings.tables[1]
    assert len(arms.rows) == len({(run.labels["arm"], run.labels["size"]) for run in GRID})
    assert all(len(row) == len(table.columns) for table in findings.tables for row in table.rows)
    drawings = draw_study_figures(findings.figures, tmp_path)
    assert [drawing.name for drawing in drawings] == ["factors", "over_sizes", "over_widths"]


def numbers(cells):
    return [float(cell.partition(" ")[0].removeprefix("×")) for cell in cells]


def test_an_end_that_is_not_known_is_left_out_of_the_means():
    early = Evidence(runs(seeds=2, last=600))
    assert early.values(KNOWN, USUAL, 4096) == [None, None]
    assert np.isinf(early.ratio(KNOWN, ((USUAL, FINISHED),), 2048).interval[1])
    assert early.law(USUAL) is None


def test_without_runs_or_with_one_arm_the_page_has_what_there_is(tmp_path):
    assert STUDY.examine([]).figures == {}
    one = [run for run in runs(seeds=2) if run.labels["arm"] == USUAL]
    findings = STUDY.examine(one)
    assert len(findings.tables[1].rows) == 4
    assert draw_study_figures(findings.figures, tmp_path) == []
