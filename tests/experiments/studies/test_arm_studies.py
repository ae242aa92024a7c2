"""What the studies of distributions, curricula and variety conclude from made-up runs."""

import numpy as np
import pytest

from moefacts.analysis.figures import draw_study_figures
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies import (
    adaptive,
    celebrities,
    distributions,
    power_law,
    templates,
    warmup,
)
from moefacts.experiments.studies.robustness import robustness as robustness
from moefacts.experiments.studies.sequential import sequential as sequential
from tests.experiments.studies.made_up import made_up_run, replicate


def verdicts(study, findings):
    return [claim.decide(findings.evidence).answer for claim in study.claims["laptop"]]


def drawn(findings, folder):
    for table in findings.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    return [drawing.name for drawing in draw_study_figures(findings.figures, folder)]


def power_law_runs(best, slope=0.01):
    """At each size, the plateau is shorter the nearer α is to ``best[size]``. After it, a smaller α learns faster."""
    runs = []
    for grid_run in power_law.STUDY.grids["laptop"]:
        size, exponent = grid_run.labels["size"], grid_run.labels["exponent"]
        leaves = 0.45 * size * (1 + abs(exponent - best[size])) - 20 + replicate(grid_run)
        runs.append(made_up_run(grid_run, leaves, slope=slope * (1.5 - exponent), last=grid_run.labels["budgets"][-1]))
    return runs


def test_mild_unevenness_that_shortens_every_plateau_is_found_with_its_best_exponents(tmp_path):
    findings = power_law.examine(power_law_runs({1024: 0.6, 2048: 0.8}))
    assert verdicts(power_law.STUDY, findings)[:2] == [HOLDS, HOLDS]
    best = {(one["size"], one["steps"]): one["exponent"] for one in findings.values["best_exponent"]}
    assert best[1024, 500] > best[1024, 1000]
    assert best[2048, 500] is None  # not a budget of that size
    assert drawn(findings, tmp_path) == ["exponents"]


def test_claims_about_mild_unevenness_do_not_hold_if_uniform_sampling_is_best():
    findings = power_law.examine(power_law_runs({1024: 0.0, 2048: 0.0}))
    assert verdicts(power_law.STUDY, findings)[:2] == [DOES_NOT_HOLD, DOES_NOT_HOLD]


def test_a_plateau_that_did_not_end_counts_as_later_than_all_others(tmp_path):
    runs = power_law_runs({1024: 0.6, 2048: 0.6})
    for index, run in enumerate(runs):
        if run.labels["exponent"] in power_law.MILD:
            runs[index] = made_up_run(power_law.STUDY.grids["laptop"][index], 5000, last=run.labels["budgets"][-1])
    findings = power_law.examine(runs)
    assert verdicts(power_law.STUDY, findings)[:2] == [DOES_NOT_HOLD, DOES_NOT_HOLD]
    assert "not reached, not reached" in str(findings.tables[0].rows)


@pytest.mark.parametrize("keep", [lambda run: run.labels["exponent"] == 0, lambda run: run.labels["size"] == 1024])
def test_with_runs_missing_a_power_law_is_not_judged(keep):
    findings = power_law.examine([run for run in power_law_runs({1024: 0.6, 2048: 0.6}) if keep(run)])
    assert verdicts(power_law.STUDY, findings)[1] == CANNOT_TELL
    assert verdicts(power_law.STUDY, findings)[3] == CANNOT_TELL


def arm_study_runs(study, saved, slope=0.01, seeds=(0, 1, 2)):
    """``saved``: (arm, size) -> how many steps earlier than uniform sampling its plateau ends."""
    runs = []
    for grid_run in study.grids["laptop"]:
        arm, size, seed = grid_run.labels["arm"], grid_run.labels["size"], replicate(grid_run)
        steps = int(next(o for o in grid_run.overrides if o.startswith("training.steps=")).partition("=")[2])
        if seed in seeds:
            leaves = 0.7 * steps + 2 * seed + (len(arm) + seed) % 3 - saved(arm, size)
            runs.append(made_up_run(grid_run, leaves, slope=slope, last=steps))
    return runs


def answers(study, findings):
    return dict(zip((claim.text for claim in study.claims["laptop"]), verdicts(study, findings), strict=True))


def test_the_claims_hold_for_a_warmup_that_helps_and_not_for_one_that_harms(tmp_path):
    gains = {"uniform": 0, warmup.MAIN: 60}
    findings = warmup.examine(arm_study_runs(warmup.STUDY, lambda arm, _: gains.get(arm, 30)))
    assert set(verdicts(warmup.STUDY, findings)) == {HOLDS}
    assert drawn(findings, tmp_path) == ["loss_1024", "loss_2048", "over_sizes"]
    worse = warmup.examine(arm_study_runs(warmup.STUDY, lambda arm, _: -50 if arm == warmup.MAIN else 0))
    assert set(verdicts(warmup.STUDY, worse)) == {DOES_NOT_HOLD}


def test_warmup_must_beat_the_best_of_the_other_distributions(tmp_path):
    study = distributions.STUDY
    gains = {distributions.WARMUP: 50, distributions.CELEBRITIES: 80, distributions.ZIPF: -40}
    findings = distributions.examine(arm_study_runs(study, lambda arm, _: gains.get(arm, 0), slope=0.005))
    assert verdicts(study, findings) == [DOES_NOT_HOLD, HOLDS, DOES_NOT_HOLD, HOLDS]
    assert drawn(findings, tmp_path) == ["loss_512", "loss_1024", "over_sizes"]


def test_the_control_never_sees_anybody_outside_the_warmup():
    from moefacts.config.presets import compose
    from moefacts.synthetic_data.distribution import Distribution

    (run,) = [r for r in distributions.STUDY.grids["laptop"] if r.labels["arm"] == distributions.SUBSET][:1]
    config = compose(["scale=laptop", *run.overrides])
    shown = Distribution(config.sampling, config.population.size, config.training.steps)
    assert shown.support(config.training.steps - 1, config.training.batch_size, None) == range(256)


def test_an_adaptive_curriculum_is_compared_with_each_tuned_alternative():
    study = adaptive.STUDY
    gains = {adaptive.AT_ONCE: 40, adaptive.STAGED: 50, "power law α = 0.6": 10, "warm-up for 8 epochs": 80}
    runs = arm_study_runs(study, lambda arm, _: gains.get(arm, 0), slope=0.005)
    assert verdicts(study, adaptive.examine(runs)) == [HOLDS, HOLDS, DOES_NOT_HOLD, HOLDS, HOLDS]


def test_where_the_adaptive_curriculum_stops_mattering_is_named():
    runs = arm_study_runs(adaptive.STUDY, lambda arm, size: 60 if "adaptive" in arm and size > 1024 else 0, 0.005)
    findings = adaptive.examine(runs)
    last = adaptive.STUDY.claims["laptop"][-1].decide(findings.evidence)
    assert (last.answer, last.here.endswith("does not matter at 1,024")) == (DOES_NOT_HOLD, True)
    assert min(findings.values["loss_saved_over_uniform"][adaptive.AT_ONCE][2048]) > 0.2


@pytest.mark.usefixtures("quick_figures")
@pytest.mark.parametrize("study", [warmup.STUDY, distributions.STUDY, adaptive.STUDY], ids=lambda study: study.name)
def test_one_run_makes_tables_but_no_verdict(study, tmp_path):
    findings = study.examine(arm_study_runs(study, lambda *_: 0, seeds=(0,))[:1])
    assert set(verdicts(study, findings)) == {CANNOT_TELL}
    drawn(findings, tmp_path)


def template_runs(learns):
    """``learns(order, count)``: whether that variety is enough for facts to be learned."""
    runs = []
    for grid_run in templates.STUDY.grids["laptop"]:
        arm = grid_run.labels["arm"]
        order, count = arm.split(", ")[0], int(arm.split(", ")[1].split()[0])
        leaves = 150 + 3 * replicate(grid_run) if learns(order, count) else 5000
        runs.append(made_up_run(grid_run, leaves, last=350, memorised=150))
    return runs


def test_facts_are_learned_only_from_varied_text(tmp_path):
    study = templates.STUDY
    findings = templates.examine(template_runs(lambda order, count: order == templates.SHUFFLED and count > 1))
    assert verdicts(study, findings) == [HOLDS] * 5
    assert drawn(findings, tmp_path) == ["templates"]
    always = templates.examine(template_runs(lambda *_: True))
    assert verdicts(study, always)[:3] == [HOLDS, DOES_NOT_HOLD, DOES_NOT_HOLD]


def test_one_run_without_three_phases_is_named(tmp_path):
    study, grid = robustness.STUDY, robustness.STUDY.grids["laptop"]

    def runs(melts):
        made = []
        for run in grid:
            longer = 32 / float(run.labels["value"]) if run.labels["part"] == "batch size" else 1
            start, leaves = (560, 580) if run.labels["value"] == melts else (60, 400)
            made.append(made_up_run(run, leaves * longer, start * longer, 0.01 / longer, int(700 * longer)))
        return made

    findings = robustness.examine(runs(None))
    assert set(verdicts(study, findings)) == {HOLDS}
    assert drawn(findings, tmp_path) == ["robustness"]
    recurrent = answers(study, robustness.examine(runs("recurrence")))
    assert [text for text, answer in recurrent.items() if answer == DOES_NOT_HOLD] == [
        "There are three phases, whatever is varied",
        "There are three phases, whatever the mixer",
    ]
    assert "not with mixer recurrence" in study.claims["laptop"][0].decide(runs("recurrence")).here
    assert set(verdicts(study, robustness.examine(runs(None)[:1]))) == {CANNOT_TELL}


def test_batch_sizes_see_the_same_biographies_between_the_same_evaluations():
    from moefacts.config.presets import compose

    grid = [run for run in robustness.STUDY.grids["laptop"] if run.labels["part"] == "batch size"]
    configs = [compose(["scale=laptop", *run.overrides]) for run in grid]
    assert [config.training.batch_size for config in configs] == list(robustness._BATCH_SIZES["laptop"])
    assert len({config.training.batch_size * config.training.steps for config in configs}) == 1
    assert len({config.training.batch_size * config.evaluation.interval for config in configs}) == 1


def buckets(**accuracy):
    """``extra`` of a made-up run, from bucket -> function: step -> accuracy."""
    return lambda step: {f"eval/seen/bucket/{name}/attribute_accuracy": of(step) for name, of in accuracy.items()}


def test_the_claims_hold_for_celebrities_that_help_and_are_known_best(tmp_path):
    study, runs = celebrities.STUDY, []
    for run in study.grids["laptop"]:
        is_uniform = run.labels["arm"] == "uniform"
        extra = (
            None if is_uniform else buckets(celebrities=lambda _: 0.5, rest=lambda _, r=run: 0.1 + 0.01 * replicate(r))
        )
        runs.append(
            made_up_run(
                run, 350 + 2 * replicate(run) - (0 if is_uniform else 40 + replicate(run)), last=550, extra=extra
            )
        )
    findings = celebrities.examine(runs)
    assert verdicts(study, findings) == [HOLDS, HOLDS, HOLDS]
    assert drawn(findings, tmp_path) == ["loss_1024"]


def turns(num_groups, steps, learning, forgetting, reached):
    """Each group rises to ``reached(group)`` in ``2 * learning`` steps of its turn, then falls in ``2 * forgetting`` steps."""

    def one(group):
        begin, end = steps * group / num_groups, steps * (group + 1) / num_groups

        def known(step):
            if step <= end:
                return reached(group) * float(np.clip((step - begin) / (2 * learning), 0, 1))
            return reached(group) * max(0.0, 1 - (step - end) / (2 * forgetting))

        return known

    return buckets(**{f"group_{group}": one(group) for group in range(num_groups)})


def sequential_runs(learning, forgetting, rises):
    runs = []
    for run in sequential.STUDY.grids["laptop"]:
        groups = run.labels["groups"]
        extra = turns(groups, 1600, learning, forgetting, lambda g, r=run: 0.4 + rises * (g + 0.2 * replicate(r)))
        runs.append(made_up_run(run, 1400, last=1600, extra=extra))
    return runs


def test_the_claims_hold_for_groups_that_get_easier_and_are_forgotten_fast(tmp_path):
    findings = sequential.examine(sequential_runs(learning=50, forgetting=25, rises=0.03))
    assert verdicts(sequential.STUDY, findings) == [HOLDS, HOLDS]
    ((first,), *_) = sequential.visits(findings.evidence[0].record)
    assert (first.reached, first.learning, first.forgetting) == pytest.approx((0.4, 50, 25), abs=0.01)
    assert drawn(findings, tmp_path) == ["groups"]


def test_the_claims_do_not_hold_for_groups_that_get_harder_and_are_forgotten_slowly():
    findings = sequential.examine(sequential_runs(learning=20, forgetting=50, rises=-0.01))
    assert verdicts(sequential.STUDY, findings) == [DOES_NOT_HOLD, DOES_NOT_HOLD]


def test_groups_that_are_never_forgotten_speak_against_fast_forgetting():
    findings = sequential.examine(sequential_runs(learning=40, forgetting=10**6, rises=0.03))
    assert verdicts(sequential.STUDY, findings)[1] == DOES_NOT_HOLD
    four = next(run for run in findings.evidence if run.labels["groups"] == 4)
    assert [visit.forgetting for (visit,) in sequential.visits(four.record)] == pytest.approx([1200, 800, 400, None])


def test_groups_that_are_never_learned_say_nothing_about_forgetting():
    findings = sequential.examine(sequential_runs(learning=3000, forgetting=25, rises=0.0))
    assert verdicts(sequential.STUDY, findings) == [CANNOT_TELL, CANNOT_TELL]
    assert all(visit["forgetting"] is None for run in findings.values["visits"] for visit in run)
