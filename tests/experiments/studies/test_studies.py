"""What the studies conclude from runs with known phases."""

from functools import reduce

import numpy as np
import pytest
from omegaconf.errors import OmegaConfBaseException

from moefacts.analysis.figures import draw_study_figures
from moefacts.config.presets import compose
from moefacts.errors import UserError
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.catalog import STUDIES
from moefacts.experiments.studies.dense_vs_moe import comparison as dense_comparison
from moefacts.experiments.studies.dense_vs_moe import dense_vs_moe as dense_vs_moe
from moefacts.experiments.studies.plateau_law import claims, grids
from moefacts.experiments.studies.plateau_law import plateau_law as plateau_law
from tests.experiments.studies.composing import parsed
from tests.experiments.studies.made_up import made_up_run, replicate


def verdicts(study, findings, scale="laptop"):
    return [claim.decide(findings.evidence).answer for claim in study.claims[scale]]


def law_runs(b=0.8, scatter=0.03, melted=(256, 512), study=plateau_law.STUDY, sizes=None, off=None):
    """``off``: size -> the factor by which its plateau ends deviate from the law."""
    random = np.random.default_rng(0)
    runs = []
    for grid_run in study.grids["laptop"]:
        size = grid_run.labels["size"]
        if sizes is None or size in sizes:
            leaves = (off or {}).get(size, 1.0) * 1.6 * size**b * np.exp(scatter * random.standard_normal())
            runs.append(made_up_run(grid_run, 90, start=75) if size in melted else made_up_run(grid_run, leaves))
    return runs


@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name in STUDIES for scale in STUDIES[name].grids])
def test_every_run_of_a_grid_composes_to_what_it_says_and_none_is_planned_twice_by_mistake(name, scale):
    grid = STUDIES[name].grids[scale]
    # One run may belong to two parts, and runs with the same settings may start from different ones.
    seen = {(run.overrides, run.labels.get("part"), tuple(one.overrides for one in run.needs)) for run in grid}
    assert len(seen) == len(grid)
    every = [one.overrides for run in grid for one in (run, *run.needs)]
    once = {tuple(text for text in overrides if not text.startswith("seed=")): overrides for overrides in every}
    for overrides in once.values():  # runs that differ in their seed alone are composed once
        config = compose([f"scale={scale}", *overrides])
        assert config.scale == scale
        for override in overrides:  # each override has its effect
            key, value = parsed(override)
            found = reduce(getattr, key.split("."), config)
            if key == "population.cohorts":
                found = {name: {part: getattr(found[name], part) for part in value[name]} for name in found}
            assert (found.preset if key == "model" else found) == value, override


@pytest.mark.parametrize("wrong", ["training.step=3", "model.moe.num_experts=4", "training.steps=many"])
def test_a_run_in_the_middle_of_a_grid_that_does_not_compose_is_found(wrong):
    with pytest.raises((UserError, OmegaConfBaseException)):
        compose(["scale=laptop", "population.size=512", wrong])


def test_the_laptop_law_spans_a_factor_of_16_up_to_at_least_4096():
    grid = plateau_law.STUDY.grids["laptop"]
    sizes = sorted({run.labels["size"] for run in grid})
    assert max(sizes) >= 4096
    assert max(sizes) // 16 in sizes
    seeds = {size: sum(run.labels["size"] == size for run in grid) for size in sizes}
    assert {size: count for size, count in seeds.items() if count != 3} == {16384: 2}  # these take half of the time


def test_a_known_law_is_found_and_sizes_without_a_plateau_of_their_own_stay_out_of_it(tmp_path):
    findings = plateau_law.examine(law_runs())
    assert [point.size for point in findings.evidence.inside] == [1024, 2048, 4096, 8192, 16384]
    low, high = findings.values["b_interval"]
    assert low < 0.8 < high
    assert findings.values["b"] == pytest.approx(0.8, abs=0.05)
    assert findings.values["a"] == pytest.approx(1.6, rel=0.3)
    assert findings.values["r_squared"] > 0.99
    assert verdicts(plateau_law.STUDY, findings) == [HOLDS] * 4 + [CANNOT_TELL]  # knowledge was not measured
    assert "merges" in findings.evidence.points[0].why
    load = {one["size"]: one["bits_per_parameter"] for one in findings.values["sizes"]}
    assert load[1024] == pytest.approx(
        1024 * 6 * np.log2(np.exp(4.914)) / 194_496
    )  # six values, each of ln(its number)
    drawings = draw_study_figures(findings.figures, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".pdf", ".svg"}
    assert len(drawings) == len(findings.figures) == 5


def test_the_law_of_the_length_includes_these_sizes_and_is_used_by_no_claim():
    runs = []
    for grid_run in plateau_law.STUDY.grids["laptop"]:
        size = grid_run.labels["size"]
        if size > 256:
            runs.append(made_up_run(grid_run, 500 + 0.03 * size**1.3, start=500, slope=1.0))
    findings = plateau_law.examine(runs)
    law = findings.values["length_law"]
    assert law["b"] == pytest.approx(1.3, abs=0.1)  # the start is interpolated between evaluations
    assert law["r_squared"] > 0.995
    assert len(findings.evidence.determined) == 6 > len(findings.evidence.inside)
    assert findings.values["b"] < 1.2


def test_a_law_of_another_exponent_does_not_hold():
    findings = plateau_law.examine(law_runs(b=1.2))
    assert verdicts(plateau_law.STUDY, findings)[2:4] == [DOES_NOT_HOLD, DOES_NOT_HOLD]


def test_sizes_off_any_law_do_not_hold():
    """All five sizes are inside, so their scatter decides."""
    findings = plateau_law.examine(law_runs(off={2048: 1.6, 4096: 0.75, 8192: 1.4}))
    assert [point.size for point in findings.evidence.inside] == [1024, 2048, 4096, 8192, 16384]
    assert findings.values["r_squared"] < claims.R_SQUARED_NEEDED - 0.01
    assert verdicts(plateau_law.STUDY, findings)[0] == DOES_NOT_HOLD


def test_plateaus_that_end_at_random_and_far_from_any_law_are_not_judged_where_too_few_are_inside():
    findings = plateau_law.examine(law_runs(b=0.5, scatter=1.0))
    assert len(findings.evidence.inside) < claims.SIZES_NEEDED
    assert verdicts(plateau_law.STUDY, findings)[0] == CANNOT_TELL


@pytest.mark.parametrize("sizes", [(1024,), (1024, 2048, 4096)])
def test_too_few_sizes_do_not_decide(sizes):
    findings = plateau_law.examine(law_runs(sizes=sizes))
    assert verdicts(plateau_law.STUDY, findings)[0] == CANNOT_TELL
    assert (findings.values["a"] is None) == (len(sizes) < 3)


def test_one_seed_whose_plateau_did_not_end_takes_its_size_out():
    runs = law_runs()
    last = next(run for run in plateau_law.STUDY.grids["laptop"] if run.labels["size"] == 8192)
    runs[next(i for i, run in enumerate(runs) if run.labels["size"] == 8192)] = made_up_run(last, 5000, last=1000)
    point = plateau_law.examine(runs).evidence.points[-2]
    assert not point.inside
    assert "not reached in 1 of 3" in point.why


BEST_RATES = {512: 1.2e-2, 1024: 6e-3, 2048: 1.5e-3, 4096: 3e-3, 8192: 7.5e-4}


def rates_runs():
    """Runs of the law whose exponent is 0.8, at a fixed rate 1.2, and runs that choose rates at random times."""
    runs = []
    for grid_run in plateau_law.RATES_STUDY.grids["laptop"]:
        size, part = grid_run.labels["size"], grid_run.labels["part"]
        if part == grids.CHOICE:
            late = 0 if grid_run.labels["learning_rate"] == BEST_RATES[size] else 100
            runs.append(made_up_run(grid_run, 60 + late, slope=0.001, last=5000))
        elif size in BEST_RATES:
            leaves = 1.6 * size**0.8 if part == grids.BEST else 0.1 * size**1.2
            runs.append(made_up_run(grid_run, leaves + 2 * replicate(grid_run)))
    return runs


def test_the_best_learning_rate_is_the_one_of_the_lowest_final_training_loss_and_the_evidence_is_the_laws_runs_alone():
    findings = plateau_law.examine(rates_runs())
    assert findings.values["best_learning_rate"] == BEST_RATES
    losses = findings.values["final_training_loss"]
    assert all(losses[size][BEST_RATES[size]] == min(losses[size].values()) for size in BEST_RATES)
    assert findings.values["b"] == pytest.approx(0.8, abs=0.02)
    assert findings.values["fixed_rate"]["b"] == pytest.approx(1.2, abs=0.05)
    assert [len(point.ends) for point in findings.evidence.points] == [3] * 5
    only_choice = plateau_law.examine([run for run in rates_runs() if run.labels["part"] == grids.CHOICE])
    assert (only_choice.evidence.points, only_choice.values["best_learning_rate"]) == ([], BEST_RATES)
    assert set(verdicts(plateau_law.RATES_STUDY, only_choice)) == {CANNOT_TELL}


def test_a_rate_that_was_not_tried_at_a_size_leaves_the_choice_there_open():
    runs = rates_runs()
    missing = next(run for run in runs if run.labels["part"] == grids.CHOICE and run.labels["size"] == 1024)
    findings = plateau_law.examine([run for run in runs if run is not missing])
    assert findings.values["best_learning_rate"].keys() == BEST_RATES.keys() - {1024}
    table = next(table for table in findings.tables if "chosen" in table.columns)
    assert {row[0]: row[-1] for row in table.rows} == {
        "512": "0.012 (at the edge)", "1,024": "–", "2,048": "0.0015", "4,096": "0.003", "8,192": "0.00075 (at the edge)",
    }  # fmt: skip


def moe_runs(kinds, seeds=(0, 1, 2)):
    """``kinds``: kind -> (how much earlier its plateau ends, how much its router collapses without balancing)."""
    runs = []
    for grid_run in dense_vs_moe.STUDY.grids["laptop"]:
        labels, seed = grid_run.labels, replicate(grid_run)
        earlier, collapse = kinds.get(labels["kind"], (0, 0.0))
        if seed in seeds:
            balanced = labels["balancing"] not in (dense_comparison.UNBALANCED, "none")
            leaves = 0.2 * labels["size"] + 3 * seed - earlier
            runs.append(made_up_run(grid_run, leaves, slope=0.02, last=720, collapse=0.05 if balanced else collapse))
    return runs


def test_the_claims_hold_for_mixtures_that_are_earlier_and_collapse_without_balancing(tmp_path):
    kinds = {"moe": (20, 0.9), "moe_switch": (0, 0.9), "moe_total": (0, 0.9), "moe_switch_total": (0, 0.9)}
    findings = dense_vs_moe.examine(moe_runs(kinds))
    answers = dict(
        zip((c.text for c in dense_vs_moe.STUDY.claims["laptop"]), verdicts(dense_vs_moe.STUDY, findings), strict=True)
    )
    assert (
        answers["At equal active parameters a mixture of 8 experts top-2 ends its plateau earlier than a dense model"]
        == HOLDS
    )
    assert (
        answers["At equal active parameters a mixture of 32 experts top-1 ends its plateau earlier than a dense model"]
        == CANNOT_TELL
    )
    assert (
        answers[
            "Memorisation follows total parameters: if these are equal, 8 experts top-2 know as much as a dense model"
        ]
        == HOLDS
    )
    assert answers["Without balancing the router leans towards collapse: its busiest expert is busier"] == HOLDS
    drawings = draw_study_figures(findings.figures, tmp_path)
    assert [drawing.name for drawing in drawings] == ["dense_vs_moe", "router_collapse"]
    first = findings.tables[0]
    assert all(
        len(row) == len(first.columns) for table in findings.tables for row in table.rows[:1] for first in [table]
    )
    assert first.rows[0][3:5] == ["194,496", "194,496"]


def test_experts_without_a_token_are_counted():
    tables = dense_vs_moe.examine(moe_runs({"moe": (0, 1.0), "moe_total": (0, 0.9)})).tables
    idle = tables[0].columns.index("idle experts at the end")
    rows = {(row[0], row[1]): row[idle] for row in tables[0].rows if row[2] == "512"}
    assert rows["8 experts top-2, equal active", "unbalanced"].startswith("14")  # 7 of 8, in both layers
    assert rows["8 experts top-2, equal active", "balanced"].startswith("0")
    assert rows["8 experts top-2, equal total", "unbalanced"].startswith("0")
    assert rows["dense", "–"] == "–"
    assert {row[0]: row[2] for row in tables[2].rows}["none"] == "14"


def test_a_comparison_with_one_seed_or_one_kind_still_makes_tables():
    findings = dense_vs_moe.examine([run for run in moe_runs({}, seeds=(0,)) if run.labels["kind"] == "dense"])
    assert set(verdicts(dense_vs_moe.STUDY, findings)) == {CANNOT_TELL}
