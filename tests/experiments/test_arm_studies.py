"""What the studies of distributions, curricula and variety conclude from made-up runs."""

import pytest

from moefacts.analysis.figures import draw_study_figures
from moefacts.experiments import power_law
from moefacts.experiments.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from tests.experiments.made_up import made_up_run


def verdicts(study, findings):
    return [claim.decide(findings.evidence).answer for claim in study.claims["laptop"]]


def drawn(findings, folder):
    for table in findings.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    return [drawing.name for drawing in draw_study_figures(findings.figures, folder)]


def seed_of(grid_run):
    return int(next(o for o in grid_run.overrides if o.startswith("seed=")).partition("=")[2])


def power_law_runs(best, slope=0.01):
    """Each size's plateau is shorter the nearer α is to ``best[size]``; later, a smaller α learns faster."""
    runs = []
    for grid_run in power_law.STUDY.grids["laptop"]:
        size, exponent = grid_run.labels["size"], grid_run.labels["exponent"]
        leaves = 0.17 * size * (1 + abs(exponent - best[size])) - 20 + seed_of(grid_run)
        runs.append(made_up_run(grid_run, leaves, slope=slope * (1.5 - exponent), last=grid_run.labels["budgets"][-1]))
    return runs


def test_mild_unevenness_that_shortens_every_plateau_is_found_with_its_best_exponents(tmp_path):
    findings = power_law.examine(power_law_runs({1024: 0.6, 2048: 0.8}))
    assert verdicts(power_law.STUDY, findings) == [HOLDS, HOLDS, HOLDS, HOLDS]
    best = {(one["size"], one["steps"]): one["exponent"] for one in findings.values["best_exponent"]}
    assert best[1024, 200] > best[1024, 400]
    assert best[2048, 200] is None  # not asked at that size
    assert drawn(findings, tmp_path) == ["exponents"]


def test_a_uniform_distribution_that_is_best_is_said_to_be():
    findings = power_law.examine(power_law_runs({1024: 0.0, 2048: 0.0}))
    assert verdicts(power_law.STUDY, findings)[:2] == [DOES_NOT_HOLD, DOES_NOT_HOLD]


def test_a_plateau_that_did_not_end_is_later_than_all(tmp_path):
    runs = power_law_runs({1024: 0.6, 2048: 0.6})
    for index, run in enumerate(runs):
        if run.labels["exponent"] in power_law.MILD:
            runs[index] = made_up_run(power_law.STUDY.grids["laptop"][index], 5000, last=run.labels["budgets"][-1])
    findings = power_law.examine(runs)
    assert verdicts(power_law.STUDY, findings)[:2] == [CANNOT_TELL, DOES_NOT_HOLD]
    assert "not reached, not reached" in str(findings.tables[0].rows)


@pytest.mark.parametrize("keep", [lambda run: run.labels["exponent"] == 0, lambda run: run.labels["size"] == 1024])
def test_with_runs_missing_a_power_law_is_not_judged(keep):
    findings = power_law.examine([run for run in power_law_runs({1024: 0.6, 2048: 0.6}) if keep(run)])
    assert verdicts(power_law.STUDY, findings)[1] == CANNOT_TELL
    assert verdicts(power_law.STUDY, findings)[3] == CANNOT_TELL
